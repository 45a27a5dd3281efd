package podmount_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// fakeNode is what a Reconciler is made of: objects, observations and answers are data. It is its
// own Prober, Remediator, Meter, ConditionWriter and EventRecorder, and safe for concurrent use.
type fakeNode struct {
	mu      sync.Mutex
	now     time.Time
	objects map[string]client.Object // the cache
	broken  map[string]error         // what a read of the cache answers instead, by kind

	causes      map[string]probes.Cause   // by mount path; absent is healthy
	unknown     map[string]string         // by mount path: why it cannot be judged
	duringProbe func()                    // called during a probe
	mounted     func(*probes.Observation) // changes what a probe finds mounted
	probed      []probes.Pod
	forgotten   []string // the UIDs that the Reconciler had the Prober forget

	answers     []controllers.Result // of the Remediator; the last one is repeated
	requests    []controllers.Request
	requestedAt []time.Time // of each request

	conditions  []corev1.PodCondition // as they were written
	writeError  error                 // what a write of one returns instead
	cacheBehind bool                  // the cache does not show what is written

	events   []event
	detected []verdict.Failure
	triggers []probes.Trigger
	counted  []controllers.Outcome
	observed int
	warning  probes.Warning // of every healthy observation
}

type event struct {
	regarding, related         *corev1.ObjectReference
	kind, reason, action, note string
}

// epoch is when a test's clock starts: an hour after its containers, on a whole second as the API
// has it.
var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newFakeNode() *fakeNode {
	return &fakeNode{
		now: epoch, objects: map[string]client.Object{}, broken: map[string]error{}, causes: map[string]probes.Cause{}, unknown: map[string]string{},
		answers: []controllers.Result{evicted},
	}
}

var evicted = controllers.Result{Outcome: controllers.OutcomeEvicted, Action: config.ActionEvict, Message: "evicted"}

func newHeld(reason controllers.Held) controllers.Result {
	return controllers.Result{Outcome: controllers.OutcomeHeld, Action: config.ActionEvict, Held: reason, Message: "held for " + string(reason)}
}

func (w *fakeNode) newReconciler(t testing.TB, change ...func(*config.Config)) *podmount.Reconciler {
	t.Helper()
	cfg := config.Default()
	cfg.NodeName = apitest.Node
	for _, c := range change {
		c(&cfg)
	}
	r, err := podmount.New(podmount.Options{Client: w, Prober: w, Remediator: w, Meter: w, Recorder: w, Config: cfg, Now: w.clock, Conditions: w})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (w *fakeNode) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *fakeNode) advanceClock(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func key(o client.Object) string { return fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName()) }

// putObject has the cache show an object.
func (w *fakeNode) putObject(o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.objects[key(o)] = o
}

func (w *fakeNode) dropObject(o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.objects, key(o))
}

// Get implements client.Reader for pods and the metadata of namespaces.
func (w *fakeNode) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.broken[fmt.Sprintf("%T", into)]; err != nil {
		return err
	}
	into.SetNamespace(name.Namespace)
	into.SetName(name.Name)
	found, ok := w.objects[key(into)]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
	}
	switch into := into.(type) {
	case *corev1.Pod:
		found.(*corev1.Pod).DeepCopyInto(into)
	case *metav1.PartialObjectMetadata:
		found.(*metav1.PartialObjectMetadata).DeepCopyInto(into)
	}
	return nil
}

// List implements client.Reader for all pods.
func (w *fakeNode) List(ctx context.Context, into client.ObjectList, _ ...client.ListOption) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.broken[fmt.Sprintf("%T", into)]; err != nil {
		return err
	}
	if _, waits := ctx.Deadline(); !waits {
		return errors.New("a read of the cache that may wait for ever")
	}
	for _, o := range w.objects {
		if pod, ok := o.(*corev1.Pod); ok {
			into.(*corev1.PodList).Items = append(into.(*corev1.PodList).Items, *pod)
		}
	}
	return nil
}

// Forget implements podmount.Prober.
func (w *fakeNode) Forget(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgotten = append(w.forgotten, uid)
}

// Probe implements podmount.Prober.
func (w *fakeNode) Probe(_ context.Context, pod probes.Pod, _ time.Duration) []probes.Observation {
	w.mu.Lock()
	during := w.duringProbe
	w.mu.Unlock()
	if during != nil {
		during()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.probed = append(w.probed, pod)
	var all []probes.Observation
	for _, c := range pod.Containers {
		for _, m := range c.Mounts {
			all = append(all, w.observe(probes.Target{Container: c.Name, Volume: m.Volume, Path: m.Path}))
		}
	}
	return all
}

func (w *fakeNode) observe(target probes.Target) probes.Observation {
	o := probes.Observation{Target: target, Health: probes.Healthy, Warning: w.warning, FSType: "fuse.test", Source: "test", Operation: probes.OpStatfs, Started: w.now, Finished: w.now}
	if w.mounted != nil {
		w.mounted(&o)
	}
	if cause, broken := w.causes[target.Path]; broken {
		o.Health, o.Cause, o.Warning = probes.Broken, cause, probes.WarningNone
	}
	if why, unknown := w.unknown[target.Path]; unknown {
		return probes.Observation{Target: target, Detail: why, Started: w.now, Finished: w.now}
	}
	return o
}

// breakMount has probes find a mount broken from now on, healMount healthy.
func (w *fakeNode) breakMount(path string, cause probes.Cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.causes[path] = cause
}

func (w *fakeNode) healMount(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.causes, path)
	delete(w.unknown, path)
}

func (w *fakeNode) countProbes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.probed)
}

// Remediate implements podmount.Remediator.
func (w *fakeNode) Remediate(_ context.Context, req controllers.Request) controllers.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.requestedAt = append(w.requests, req), append(w.requestedAt, w.now)
	answer := w.answers[0]
	if len(w.answers) > 1 {
		w.answers = w.answers[1:]
	}
	return answer
}

// WriteCondition implements podmount.ConditionWriter. The cache shows the condition at once unless
// cacheBehind is set.
func (w *fakeNode) WriteCondition(_ context.Context, pod *corev1.Pod, c corev1.PodCondition) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conditions = append(w.conditions, c)
	if w.writeError != nil {
		return w.writeError
	}
	if cached, ok := w.objects[key(pod)].(*corev1.Pod); ok && !w.cacheBehind {
		setCondition(cached, c)
	}
	return nil
}

func setCondition(pod *corev1.Pod, c corev1.PodCondition) {
	pod.Status.Conditions = slices.DeleteFunc(pod.Status.Conditions, func(old corev1.PodCondition) bool { return old.Type == c.Type })
	pod.Status.Conditions = append(pod.Status.Conditions, c)
}

// listConditions lists the conditions that were written, such as "False Stale".
func (w *fakeNode) listConditions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []string{}
	for _, c := range w.conditions {
		all = append(all, string(c.Status)+" "+c.Reason)
	}
	return all
}

func (w *fakeNode) copyRequests() []controllers.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]controllers.Request{}, w.requests...)
}

// Observed implements podmount.Meter.
func (w *fakeNode) Observed(probes.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observed++
}

// Detected implements podmount.Meter.
func (w *fakeNode) Detected(f verdict.Failure, trigger probes.Trigger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.triggers = append(w.triggers, trigger)
	w.detected = append(w.detected, f)
}

// Remediated implements podmount.Meter.
func (w *fakeNode) Remediated(_ probes.Cause, r controllers.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, r.Outcome)
}

// Eventf implements events.EventRecorder.
func (w *fakeNode) Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := event{kind: kind, reason: reason, action: action, note: fmt.Sprintf(note, args...)}
	e.regarding, _ = regarding.(*corev1.ObjectReference)
	e.related, _ = related.(*corev1.ObjectReference)
	w.events = append(w.events, e)
}

// listEvents returns the events that regard objects of a kind, for a reason; "" is any.
func (w *fakeNode) listEvents(kind, reason string) []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []event
	for _, e := range w.events {
		if e.regarding.Kind == kind && (reason == "" || e.reason == reason) {
			all = append(all, e)
		}
	}
	return all
}

// listReasons lists the reasons of the pods' events in their order.
func (w *fakeNode) listReasons() []string {
	reasons := []string{}
	for _, e := range w.listEvents("Pod", "") {
		reasons = append(reasons, e.reason)
	}
	return reasons
}

// newPod returns a pod as a cache shows it, running for an hour, with the given annotations as
// well.
func newPod(name string, annotations map[string]string) *corev1.Pod {
	pod := apitest.NewPod("default", name)
	pod.UID = types.UID(name + "-uid")
	for k, v := range annotations {
		pod.Annotations[k] = v
	}
	pod.Status = apitest.Running(pod)
	for i := range pod.Status.ContainerStatuses {
		pod.Status.ContainerStatuses[i].State.Running.StartedAt = metav1.NewTime(epoch.Add(-time.Hour))
	}
	return pod
}

// newNamespace returns a namespace as a cache shows it.
func newNamespace(labels map[string]string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: labels}}
}

// withMount adds a volume and its mount to the pod's container.
func withMount(pod *corev1.Pod, volume, path string) *corev1.Pod {
	pod.Spec.Volumes = append(pod.Spec.Volumes, apitest.Volume(volume))
	pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: path})
	return pod
}

// reconcileOnce probes a pod once, as the queue would.
func reconcileOnce(t testing.TB, r *podmount.Reconciler, pod *corev1.Pod) ctrl.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// reconcileTimes reconciles a pod n times and lets the requested time pass each time. It fails when
// no time is requested.
func (w *fakeNode) reconcileTimes(t testing.TB, r *podmount.Reconciler, pod *corev1.Pod, n int) {
	t.Helper()
	for range n {
		result := reconcileOnce(t, r, pod)
		if result.RequeueAfter <= 0 {
			t.Fatalf("the pod does not come round: %+v", result)
		}
		w.advanceClock(result.RequeueAfter)
	}
}
