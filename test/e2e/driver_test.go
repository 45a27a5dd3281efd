package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// newDriverScene is a scene whose volumes are of a driver of its own: what happens to it teaches the agents nothing about the
// driver of all other tests.
func newDriverScene(t *testing.T, args ...string) *scene {
	t.Helper()
	return newAdaptedDriverScene(t, func(spec *corev1.PodSpec) {
		c := &spec.Containers[0]
		c.Args = append(c.Args, args...)
	})
}

// newAdaptedDriverScene is a newDriverScene whose driver's pods are changed by adapt.
func newAdaptedDriverScene(t *testing.T, adapt func(*corev1.PodSpec)) *scene {
	t.Helper()
	outer := newScene(t) // its namespace is the driver's, and goes after the apps that need it
	driver, err := outer.InstallDriver(outer.within(startup), outer.namespace, adapt)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := driver.Remove(ctx); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	must(t, err)
	s := newScene(t)
	s.driver = driver
	return s
}

// While the driver is away nobody would mount the successor's volume: a pod that runs with a broken mount would become one that
// never starts.
func TestADriverThatIsAwayHoldsItsPods(t *testing.T) {
	t.Parallel()
	s := newDriverScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	owner := s.owner(&pod)

	breakage, err := s.Lookout(s.within(patience), &pod, "app", "data")
	must(t, err)
	t.Cleanup(func() { s.runDriver(true) }) // else its volumes could not be unmounted
	must(t, s.driver.Run(s.within(patience), false))
	_, said, err := breakage.Wait()
	must(t, err)
	t.Logf("the container says: %s", said)
	for _, object := range []metav1.Object{&pod, owner} {
		if note := s.held(object, "NoFreshMount").Note; !strings.Contains(note, s.driver.Name) {
			t.Errorf("the event on %s does not name the driver: %s", object.GetName(), note)
		}
	}
	s.staysFor(20*time.Second, pod)
	must(t, s.driver.Run(s.within(patience), true))
	back := time.Now()
	life := s.ended(&pod, true)
	t.Logf("evicted %s after the driver was back", life.Ending.Sub(back).Round(time.Millisecond))
	s.healed(&pod)
}

// runDriver is for the end of a test, whose own context has ended.
func (s *scene) runDriver(wanted bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.driver.Run(ctx, wanted); err != nil {
		s.Error(err)
	}
}

// healed asserts that the one pod of the app was replaced and that its successor reads its canary, and returns that.
func (s *scene) healed(pod *corev1.Pod) *corev1.Pod {
	s.Helper()
	successor := s.replaced(pod)
	s.reads(successor, "app", "data")
	return successor
}

// replaced waits for the ready successor of the one pod of an app.
func (s *scene) replaced(pod *corev1.Pod) *corev1.Pod {
	s.Helper()
	var successor *corev1.Pod
	err := world.Until(s.within(startup), "a ready successor of "+pod.Name, func(ctx context.Context) (bool, string) {
		list, err := s.Client.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + pod.Labels["app"]})
		if err != nil {
			return false, err.Error()
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.UID != pod.UID && p.DeletionTimestamp == nil && world.Ready(p) {
				successor = p
				return true, ""
			}
		}
		return false, fmt.Sprintf("%d pods", len(list.Items))
	})
	must(s.T, err)
	return successor
}
