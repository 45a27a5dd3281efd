package podmount_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/condition"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// agent is a Reconciler in a manager, with a real API server and the real clock. A fakeNode is the
// rest.
type agent struct {
	*fakeNode
	*podmount.Reconciler
	cached client.Reader
	node   string
}

// startAgent runs an agent for a node of the test's own, until the test ends.
func startAgent(t *testing.T, node string, change ...func(*config.Config)) *agent {
	t.Helper()
	server.Require(t)
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	anyName := true
	mgr, err := ctrl.NewManager(server.Config, ctrl.Options{
		Scheme:     scheme,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: &anyName},
		Cache: cache.Options{
			DefaultTransform: podmount.Strip, ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{&corev1.Pod{}: {Field: fields.OneTermEqualSelector("spec.nodeName", node)}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.NodeName = node
	for _, c := range change {
		c(&cfg)
	}
	w := newFakeNode()
	r, err := podmount.New(podmount.Options{
		Client: mgr.GetClient(), Prober: &realClockNode{w}, Remediator: w, Meter: w, Recorder: mgr.GetEventRecorder("mountwarden-test"), Config: cfg, Now: time.Now,
		Conditions: condition.New(server.Client.CoreV1()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetupWithManager(mgr); err != nil {
		t.Fatal(err)
	}
	runManager(t, mgr)
	return &agent{w, r, mgr.GetClient(), node}
}

// runManager runs a manager until the test ends and waits for its end.
func runManager(t *testing.T, mgr ctrl.Manager) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the manager ended with %v", err)
		}
	})
}

// realClockNode is a fakeNode whose probes are made by the real clock.
type realClockNode struct{ *fakeNode }

func (c *realClockNode) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	c.mu.Lock()
	c.now = time.Now()
	c.mu.Unlock()
	return c.fakeNode.Probe(ctx, pod, timeout)
}

// newPod returns a pod that is probed every second on the agent's node, in a namespace.
func (a *agent) newPod(namespace string) *corev1.Pod {
	pod := apitest.NewPod(namespace, "app")
	pod.Spec.NodeName = a.node
	pod.Annotations[config.AnnotationPeriodSeconds] = "1"
	return pod
}

// awaitProbes waits for n more probes.
func (a *agent) awaitProbes(t *testing.T, n int) {
	t.Helper()
	goal := a.countProbes() + n
	apitest.Eventually(t, "more looks", func() bool { return a.countProbes() >= goal })
}

// The cache goes on to show the pod as running; it is asked for once all the same.
func TestManagedFailureIsRemovedOnce(t *testing.T) {
	a := startAgent(t, "removed-once")
	pod := server.Run(t, a.newPod(server.Namespace(t, nil)))
	a.awaitProbes(t, 1)
	a.breakMount("/data", probes.CauseDisconnected)
	apitest.Eventually(t, "a removal", func() bool { return len(a.copyRequests()) > 0 })
	a.awaitProbes(t, 4)
	if asked := a.copyRequests(); len(asked) != 1 || asked[0].Pod.UID != pod.UID {
		t.Errorf("asked %d times", len(asked))
	}
}

func TestManagedPodsAreOnlyTheNodesOwn(t *testing.T) {
	a := startAgent(t, "own-pods")
	namespace := server.Namespace(t, nil)
	other := a.newPod(namespace)
	other.Name, other.Spec.NodeName = "other", "another-node"
	plain := a.newPod(namespace)
	plain.Name, plain.Annotations = "plain", nil
	server.Run(t, other)
	server.Run(t, plain)
	server.Run(t, a.newPod(namespace))
	a.awaitProbes(t, 3)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, look := range a.probed {
		if look.Name != "app" {
			t.Errorf("looked at %s", look.Name)
		}
	}
}

// Sixty updates in a burst cause no probe before its time.
func TestManagedPeriodIsKeptInABurst(t *testing.T) {
	a := startAgent(t, "burst")
	pod := a.newPod(server.Namespace(t, nil))
	pod.Annotations[config.AnnotationPeriodSeconds] = "600"
	pod = server.Run(t, pod) // it may have been probed by now, and there is no second probe to wait for
	apitest.Eventually(t, "the condition", func() bool { return findCondition(t, pod).Status == corev1.ConditionTrue })
	for i := range 60 {
		pod = server.Change(t, pod, func(p *corev1.Pod) { p.Annotations["mountwarden-test"] = strings.Repeat("x", i) })
	}
	seen := &corev1.Pod{}
	apitest.Eventually(t, "the last update in the cache", func() bool {
		return a.cached.Get(t.Context(), client.ObjectKeyFromObject(pod), seen) == nil && seen.ResourceVersion == pod.ResourceVersion
	})
	if n := a.countProbes(); n != 1 {
		t.Errorf("%d looks in one period", n)
	}
	if len(seen.Spec.Containers[0].Env) > 0 || seen.Spec.Containers[0].Image != "" {
		t.Errorf("the cache holds more than it needs: %+v", seen.Spec)
	}
}

func TestManagedPodOptsInAndOut(t *testing.T) {
	a := startAgent(t, "opts")
	pod := a.newPod(server.Namespace(t, nil))
	delete(pod.Annotations, config.AnnotationWatch)
	pod = server.Run(t, pod)
	server.Change(t, pod, func(p *corev1.Pod) { p.Annotations[config.AnnotationWatch] = "true" })
	a.awaitProbes(t, 2)
	server.Change(t, pod, func(p *corev1.Pod) { delete(p.Annotations, config.AnnotationWatch) })
	apitest.Eventually(t, "the pod is forgotten", func() bool { return a.PodsWatched() == 0 })
}

// A namespace's labels are the administrator's switch, there and back, without any update of the pod.
func TestManagedNamespaceSelector(t *testing.T) {
	a := startAgent(t, "selector", func(c *config.Config) { c.Limits.NamespaceSelector = "mounts=watched" })
	namespace := server.Namespace(t, nil)
	server.Run(t, a.newPod(namespace))
	server.Run(t, a.newPod(server.Namespace(t, map[string]string{"mounts": "other"})))
	label := func(labels map[string]string) {
		ns, err := server.Client.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ns.Labels = labels
		if _, err := server.Client.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		label(map[string]string{"mounts": "watched"})
		a.awaitProbes(t, 2)
		label(nil)
		apitest.Eventually(t, "the pod is forgotten", func() bool { return a.PodsWatched() == 0 })
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(a.probed, func(p probes.Pod) bool { return p.Namespace != namespace }) {
		t.Error("looked at a pod of a namespace that is not selected")
	}
}

func TestManagedPodIsRecreated(t *testing.T) {
	a := startAgent(t, "recreated")
	namespace := server.Namespace(t, nil)
	first := server.Run(t, a.newPod(namespace))
	a.breakMount("/data", probes.CauseDisconnected)
	apitest.Eventually(t, "a removal", func() bool { return len(a.copyRequests()) == 1 })
	server.Vanish(t, first)
	second := server.Run(t, a.newPod(namespace))
	apitest.Eventually(t, "the successor's removal", func() bool { return len(a.copyRequests()) == 2 })
	if got := a.copyRequests()[1]; got.Pod.UID != second.UID || got.Decision.Failures[0].Looks < 2 {
		t.Errorf("asked %+v, want the removal of %s after two looks of its own", got, second.UID)
	}
	server.Vanish(t, second)
	apitest.Eventually(t, "the pod is forgotten", func() bool { return a.PodsWatched() == 0 })
}

// findCondition returns the condition of a pod as the API server has it; the zero value is none.
func findCondition(t *testing.T, pod *corev1.Pod) corev1.PodCondition {
	t.Helper()
	for _, c := range server.Get(t, pod).Status.Conditions {
		if c.Type == controllers.ConditionMountsHealthy {
			return c
		}
	}
	return corev1.PodCondition{}
}

// The condition follows the mount there and back, and no agent that starts later touches it again.
func TestManagedCondition(t *testing.T) {
	a := startAgent(t, "condition")
	a.answers = []controllers.Result{newHeld(controllers.HeldDryRun)}
	pod := server.Run(t, a.newPod(server.Namespace(t, nil)))
	becomes := func(status corev1.ConditionStatus) {
		t.Helper()
		apitest.Eventually(t, "the condition "+string(status), func() bool { return findCondition(t, pod).Status == status })
	}
	becomes(corev1.ConditionTrue)
	a.breakMount("/data", probes.CauseDisconnected)
	becomes(corev1.ConditionFalse)
	if c := findCondition(t, pod); c.Reason != "Disconnected" || !strings.HasPrefix(c.Message, "container app, /data") || c.LastTransitionTime.IsZero() {
		t.Errorf("condition %+v", c)
	}
	a.healMount("/data")
	becomes(corev1.ConditionTrue)
	if c := findCondition(t, pod); c.Reason != "MountsHealthy" || c.Message != "" {
		t.Errorf("condition %+v", c)
	}
	before := server.Get(t, pod).ResourceVersion
	a.awaitProbes(t, 3)
	if after := server.Get(t, pod).ResourceVersion; after != before {
		t.Errorf("three healthy looks took the pod from version %s to %s", before, after)
	}
}

// An agent that starts again finds the condition that it wrote before.
func TestManagedConditionIsNotWrittenAgain(t *testing.T) {
	a := startAgent(t, "condition-again")
	pods := server.Client.CoreV1().Pods(server.Namespace(t, nil))
	pod, err := pods.Create(t.Context(), a.newPod(""), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status = apitest.Running(pod)
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionTrue, Reason: "MountsHealthy", LastTransitionTime: metav1.Now(),
	}}
	if pod, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	a.awaitProbes(t, 3)
	if after := server.Get(t, pod).ResourceVersion; after != pod.ResourceVersion {
		t.Errorf("three healthy looks took the pod from version %s to %s", pod.ResourceVersion, after)
	}
}

// Events reach the API server, for the pod and for its owner; those of two mounts are not taken for one.
func TestManagedEvents(t *testing.T) {
	a := startAgent(t, "events")
	pod := withMount(a.newPod(server.Namespace(t, nil)), "more", "/more")
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "more", MountPath: "/again", SubPath: "x"})
	a.answers = []controllers.Result{newHeld(controllers.HeldDryRun)}
	pod = server.Run(t, pod)
	for _, path := range []string{"/data", "/more", "/again"} {
		a.breakMount(path, probes.CauseDisconnected)
	}
	var list *eventsv1.EventList
	find := func(kind, reason, field string) int {
		return slices.IndexFunc(list.Items, func(e eventsv1.Event) bool {
			about := e.Regarding.FieldPath
			if kind != "Pod" && e.Related != nil {
				about = e.Related.FieldPath
			}
			return e.Regarding.Kind == kind && e.Reason == reason && about == field && strings.Contains(e.Note, "container app, "+cutMountPath(field))
		})
	}
	apitest.Eventually(t, "all events", func() bool {
		var err error
		list, err = server.Client.EventsV1().Events(pod.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"Pod", "ReplicaSet"} {
			for _, p := range []string{"/data", "/more", "/again"} {
				if find(kind, controllers.ReasonMountUnhealthy, "spec.containers{app}.volumeMounts{"+p+"}") < 0 {
					return false
				}
			}
			if find(kind, controllers.ReasonRemediationHeld, "") < 0 {
				return false
			}
		}
		return true
	})
	for _, e := range list.Items {
		if e.Type != corev1.EventTypeWarning || e.Action == "" || e.ReportingController != "mountwarden-test" || e.Related == nil {
			t.Errorf("event %+v", e)
		}
		if e.Regarding.UID != pod.UID && e.Related.UID != pod.UID {
			t.Errorf("the event does not name the pod: %+v", e)
		}
	}
}

// cutMountPath takes the mount path out of a fieldPath.
func cutMountPath(field string) string {
	_, after, _ := strings.Cut(field, "volumeMounts{")
	return strings.TrimSuffix(after, "}")
}
