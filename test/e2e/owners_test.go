package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// The successor bears the same name, and comes only when the old pod's volumes are unmounted.
func TestAPodOfAStatefulSet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := s.ours(world.App{Name: "app", Annotations: world.Watched()})
	_, err := s.Client.AppsV1().StatefulSets(s.namespace).Create(s.ctx, &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec:       appsv1.StatefulSetSpec{ServiceName: "app", Selector: app.Selector(), Template: app.Template()},
	}, metav1.CreateOptions{})
	must(t, err)
	pod := s.ready("app", 1)[0]
	s.watched(&pod, "data")

	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	successor := s.healed(&pod)
	if successor.Name != pod.Name {
		t.Errorf("the successor's name is %s, not %s", successor.Name, pod.Name)
	}
	s.event(successor, "SuccessorHealthy")
	if n := s.history.Pods(); n != 2 {
		t.Errorf("%d pods were made, want the first and its successor", n)
	}
}

// The successor of a DaemonSet's pod is bound to the node.
func TestAPodOfADaemonSet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	app := s.ours(world.App{Name: "app", Annotations: world.Watched()})
	_, err := s.Client.AppsV1().DaemonSets(s.namespace).Create(s.ctx, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec:       appsv1.DaemonSetSpec{Selector: app.Selector(), Template: app.Template()},
	}, metav1.CreateOptions{})
	must(t, err)
	pod := s.ready("app", 1)[0]
	s.watched(&pod, "data")

	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	if successor := s.healed(&pod); successor.Spec.NodeName != pod.Spec.NodeName {
		t.Errorf("the successor is on node %s, the pod was on %s", successor.Spec.NodeName, pod.Spec.NodeName)
	}
}

// A Job that ignores disruptions makes a new pod and counts no failure, though it allows none: whatever the action.
func TestAJobThatIgnoresDisruptions(t *testing.T) {
	for _, action := range []string{"Evict", "Delete"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			pod := s.job(&batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action:          batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
			}}}, "action", action)
			s.kill(pod, "app", "data")
			s.ended(pod, action == "Evict")
			s.healed(pod)
			job, err := s.Client.BatchV1().Jobs(s.namespace).Get(s.ctx, "app", metav1.GetOptions{})
			must(t, err)
			if job.Status.Failed != 0 || len(job.Status.Conditions) > 0 {
				t.Errorf("the Job counts %d failures: %+v", job.Status.Failed, job.Status.Conditions)
			}
		})
	}
}

// A Job that allows no failure would end with its pod.
func TestAJobThatWouldFailKeepsItsPod(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.job(nil)
	s.kill(pod, "app", "data")
	s.held(pod, "JobWouldFail")
	s.staysFor(20*time.Second, *pod)
}

// job makes a Job that allows no failure and returns its pod.
func (s *scene) job(policy *batchv1.PodFailurePolicy, annotations ...string) *corev1.Pod {
	s.Helper()
	limit := int32(0)
	app := s.ours(world.App{Name: "app", Annotations: world.Watched(annotations...), Adapt: func(spec *corev1.PodSpec) {
		spec.RestartPolicy = corev1.RestartPolicyNever
		// A Job takes a pod that ends well for done, however it came to its end.
		spec.Containers[0].Command = []string{"/bin/sh", "-c", "trap 'sleep 1; exit 1' TERM; while :; do sleep 3600 & wait $!; done"}
	}})
	_, err := s.Client.BatchV1().Jobs(s.namespace).Create(s.ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec:       batchv1.JobSpec{BackoffLimit: &limit, PodFailurePolicy: policy, Template: app.Template()},
	}, metav1.CreateOptions{})
	must(s.T, err)
	pod := s.ready("app", 1)[0]
	s.watched(&pod, "data")
	return &pod
}

// isGone is a condition: the pod is not in the API any more.
func (s *scene) isGone(pod *corev1.Pod) func(context.Context) (bool, error) {
	return func(context.Context) (bool, error) { return !s.history.Life(pod.UID).Gone.IsZero(), nil }
}

// until waits for a condition of the test.
func (s *scene) until(what string, condition func(context.Context) (bool, error)) {
	s.Helper()
	must(s.T, world.Until(s.within(patience), what, func(ctx context.Context) (bool, string) {
		ok, err := condition(ctx)
		return ok, fmt.Sprint(err)
	}))
}
