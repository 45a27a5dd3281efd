package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// Deadlines for what Kubernetes does by itself; they only bound a failing test.
const (
	startup    = 4 * time.Minute // an app's pods become ready
	patience   = 4 * time.Minute // something that must happen happens, an agent's or a kubelet's watch that backed off included
	untouched  = 60 * time.Second
	eventDelay = 10 * time.Second // the promise: events are there that soon
)

// scene is one test's namespace, with a history of its pods.
type scene struct {
	*testing.T
	*world.World
	ctx       context.Context
	namespace string
	history   *world.History
	driver    world.Driver // of all volumes
}

// newScene makes a namespace and begins to watch its pods. It skips outside the cluster, where nothing can be broken.
func newScene(t *testing.T) *scene {
	t.Helper()
	if os.Getenv("CLUSTER") == "" {
		t.Skip("not in the test cluster: run `make test-e2e`")
	}
	w, err := world.New()
	must(t, err)
	s := &scene{T: t, World: w, ctx: t.Context(), driver: w.StandingDriver()}
	ns, err := w.Client.CoreV1().Namespaces().Create(s.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	must(t, err)
	s.namespace = ns.Name
	t.Cleanup(s.remove)
	s.history, err = w.Watch(s.ctx, s.namespace)
	must(t, err)
	t.Cleanup(s.history.Close)
	return s
}

// remove deletes the namespace and waits until its pods are gone: until then their volumes are mounted.
func (s *scene) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Client.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{}); err != nil {
		s.Errorf("delete namespace %s: %v", s.namespace, err)
		return
	}
	err := world.Until(ctx, "the end of namespace "+s.namespace, func(ctx context.Context) (bool, string) {
		_, err := s.Client.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), fmt.Sprint(err)
	})
	if err != nil {
		s.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within returns a context that ends with the test or after d.
func (s *scene) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.ctx, d)
	s.Cleanup(cancel)
	return ctx
}

// deploy makes a Deployment and waits for its ready pods.
func (s *scene) deploy(app world.App) []corev1.Pod {
	s.Helper()
	s.create(app)
	return s.ready(app.Name, int(max(1, app.Replicas)))
}

// create makes a Deployment.
func (s *scene) create(app world.App) {
	s.Helper()
	_, err := s.Client.AppsV1().Deployments(s.namespace).Create(s.ctx, s.ours(app).Deployment(), metav1.CreateOptions{})
	must(s.T, err)
}

// ours is the app in the scene's namespace, on the scene's driver.
func (s *scene) ours(app world.App) world.App {
	app.Namespace, app.Driver = s.namespace, s.driver.Name
	return app
}

// Fault breaks or mends one volume of a pod.
func (s *scene) Fault(ctx context.Context, pod *corev1.Pod, volume string, fault ...string) error {
	return s.driver.Fault(ctx, pod, volume, fault...)
}

func (s *scene) ready(app string, n int) []corev1.Pod {
	s.Helper()
	pods, err := s.ReadyPods(s.within(startup), s.namespace, app, n)
	must(s.T, err)
	return pods
}

// reads asserts that the container reads the canary.
func (s *scene) reads(pod *corev1.Pod, container, volume string) {
	s.Helper()
	out, err := s.Exec(s.ctx, pod, container, "cat", "/"+volume+"/canary")
	must(s.T, err)
	if strings.TrimSpace(out) != world.Canary {
		s.Fatalf("%s/%s reads %q, not the canary", pod.Name, container, out)
	}
}

// watched waits until the agent has found every given mount of the pod healthy: from then on it is on guard.
func (s *scene) watched(pod *corev1.Pod, volumes ...string) {
	s.Helper()
	must(s.T, s.AwaitHealthy(s.within(patience), pod, volumes...))
}

// kill ends the FUSE daemon of a volume, sees from inside the container that the mount is dead, and returns when
// it was broken.
func (s *scene) kill(pod *corev1.Pod, container, volume string) time.Time {
	s.Helper()
	breakage, err := s.Lookout(s.within(patience), pod, container, volume)
	must(s.T, err)
	must(s.T, s.Fault(s.ctx, pod, volume, "kill"))
	at, said, err := breakage.Wait()
	must(s.T, err)
	// ENOTCONN; ECONNABORTED for the one call that was under way.
	if !strings.Contains(said, "not connected") && !strings.Contains(said, "connection abort") {
		s.Fatalf("the daemon is dead, but the container says: %s", said)
	}
	return at
}

// ended waits until the pod is being removed and asserts that it is done gently: by eviction or, where the test says
// so, by deletion, and never with a grace period of 0.
func (s *scene) ended(pod *corev1.Pod, evicted bool) world.Life {
	s.Helper()
	life, err := s.history.Ended(s.within(patience), pod)
	must(s.T, err)
	if life.Grace < 1 {
		s.Errorf("%s was removed with a grace period of %d s", pod.Name, life.Grace)
	}
	if life.Evicted != evicted {
		s.Errorf("%s: evicted = %t, want %t", pod.Name, life.Evicted, evicted)
	}
	return life
}

// event waits for an event with this reason that regards an object, and returns it.
func (s *scene) event(object metav1.Object, reason string) world.Event {
	s.Helper()
	return s.eventWhich(object, reason, func(e world.Event) bool { return e.Reason == reason })
}

// held waits for the event that says why the pod stays, and returns it.
func (s *scene) held(object metav1.Object, why string) world.Event {
	s.Helper()
	return s.eventWhich(object, "RemediationHeld "+why, func(e world.Event) bool {
		return e.Reason == "RemediationHeld" && strings.HasSuffix(e.Action, why)
	})
}

func (s *scene) eventWhich(object metav1.Object, what string, is func(world.Event) bool) world.Event {
	s.Helper()
	var found world.Event
	err := world.Until(s.within(patience), fmt.Sprintf("event %s on %s", what, object.GetName()), func(ctx context.Context) (bool, string) {
		events, err := s.Events(ctx, s.namespace, object.GetUID())
		if err != nil {
			return false, err.Error()
		}
		for _, e := range events {
			if is(e) {
				found = e
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", events)
	})
	must(s.T, err)
	return found
}

// reasons returns how many events of each reason regard the object.
func (s *scene) reasons(object metav1.Object) map[string]int {
	s.Helper()
	events, err := s.Events(s.ctx, s.namespace, object.GetUID())
	must(s.T, err)
	counts := map[string]int{}
	for _, e := range events {
		counts[e.Reason]++
	}
	return counts
}

// staysFor asserts that none of the pods is removed for a while. A pod that must stay can only be watched for as long
// as one is willing to wait.
func (s *scene) staysFor(d time.Duration, pods ...corev1.Pod) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, d)
	defer cancel()
	err := world.Until(ctx, "nothing", func(context.Context) (bool, string) {
		for _, p := range pods {
			if life := s.history.Life(p.UID); !life.Ending.IsZero() {
				return true, p.Name
			}
		}
		return false, ""
	})
	if err == nil {
		s.Fatal("a pod that must stay was removed")
	}
	must(s.T, s.ctx.Err())
}

// owner returns the pod's ReplicaSet.
func (s *scene) owner(pod *corev1.Pod) metav1.Object {
	s.Helper()
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		s.Fatalf("%s has no controller", pod.Name)
	}
	rs, err := s.Client.AppsV1().ReplicaSets(s.namespace).Get(s.ctx, ref.Name, metav1.GetOptions{})
	must(s.T, err)
	return rs
}

// cluster runs the cluster program, for example to stop a component.
func (s *scene) cluster(args ...string) {
	s.Helper()
	if out, err := exec.CommandContext(s.ctx, os.Getenv("CLUSTER"), args...).CombinedOutput(); err != nil {
		s.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
