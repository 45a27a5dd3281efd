package remediate_test

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// job makes a Job that has failed so often, and has the lab's pod be one of its own.
func (l *lab) job(failed int32, change func(*batchv1.JobSpec)) *batchv1.Job {
	l.t.Helper()
	spec := batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: "app"}},
	}}}
	change(&spec)
	jobs := server.Client.BatchV1().Jobs(l.pod.Namespace)
	job, err := jobs.Create(l.t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	started := metav1.NewTime(now)
	job.Status.Failed, job.Status.StartTime = failed, &started
	if job, err = jobs.UpdateStatus(l.t.Context(), job, metav1.UpdateOptions{}); err != nil {
		l.t.Fatal(err)
	}
	yes := true
	l.pod = server.Change(l.t, l.pod, func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job.Name, UID: job.UID, Controller: &yes}}
	})
	l.request.Pod = l.pod
	return job
}

func limit(n int32) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) { s.BackoffLimit = &n }
}

func ignoring(condition corev1.PodConditionType, action batchv1.PodFailurePolicyAction) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) {
		limit(0)(s)
		s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: action, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: condition, Status: corev1.ConditionTrue}},
		}}}
	}
}

// A pod of a Job is removed only when the Job makes a new one.
func TestJobs(t *testing.T) {
	for name, tc := range map[string]struct {
		failed int32
		change func(*batchv1.JobSpec)
		held   bool
	}{
		"default":                      {0, func(*batchv1.JobSpec) {}, false},
		"the default is used up":       {6, func(*batchv1.JobSpec) {}, true},
		"one is left":                  {5, func(*batchv1.JobSpec) {}, false},
		"none is allowed":              {0, limit(0), true},
		"its own limit":                {2, limit(3), false},
		"its own limit is used up":     {3, limit(3), true},
		"disruptions are ignored":      {0, ignoring(corev1.DisruptionTarget, batchv1.PodFailurePolicyActionIgnore), false},
		"disruptions fail it":          {0, ignoring(corev1.DisruptionTarget, batchv1.PodFailurePolicyActionFailJob), true},
		"another condition is ignored": {0, ignoring("example.com/Other", batchv1.PodFailurePolicyActionIgnore), true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.job(tc.failed, tc.change)
			if tc.held {
				l.requireHeld(controllers.HeldJobWouldFail, "backoffLimit", "podFailurePolicy")
				return
			}
			l.requireEvicted()
		})
	}
}

func TestAJobThatIsGone(t *testing.T) {
	l := newLab(t)
	job := l.job(0, func(*batchv1.JobSpec) {})
	orphan := metav1.DeletePropagationOrphan
	none := int64(0)
	if err := server.Client.BatchV1().Jobs(job.Namespace).Delete(t.Context(), job.Name, metav1.DeleteOptions{PropagationPolicy: &orphan, GracePeriodSeconds: &none}); err != nil {
		t.Fatal(err)
	}
	// No garbage collector runs: take the finalizer away as it would.
	job, err := server.Client.BatchV1().Jobs(job.Namespace).Get(t.Context(), job.Name, metav1.GetOptions{})
	if err == nil {
		job.Finalizers = nil
		if _, err := server.Client.BatchV1().Jobs(job.Namespace).Update(t.Context(), job, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	l.requireHeld(controllers.HeldNoController)
}

// A deletion says that it is a disruption; an eviction's is the API server's to say.
func TestADeletionIsADisruption(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	l.job(0, func(*batchv1.JobSpec) {})
	l.requireResult(l.act(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	l.requireRemovals("delete")
	l.requireTerminating(30)
	for _, c := range server.Get(t, l.pod).Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == "DeletionByMountwarden" {
			return
		}
	}
	t.Error("the pod has no condition DisruptionTarget")
}
