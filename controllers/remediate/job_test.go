package remediate_test

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// createJob creates a Job with this many failures, and makes it the owner of the scenario's pod. Of
// the pod's containers app runs, done has succeeded, and crashed has ended with 3.
func (s *scenario) createJob(failed int32, change func(*batchv1.JobSpec)) *batchv1.Job {
	s.t.Helper()
	spec := batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "app", Image: "app"}, {Name: "done", Image: "app"}, {Name: "crashed", Image: "app"}},
	}}}
	change(&spec)
	jobs := server.Client.BatchV1().Jobs(s.pod.Namespace)
	job, err := jobs.Create(s.t.Context(), &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "job"}, Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	started := metav1.NewTime(now)
	job.Status.Failed, job.Status.StartTime = failed, &started
	if job, err = jobs.UpdateStatus(s.t.Context(), job, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	yes := true
	s.pod = server.Change(s.t, s.pod, func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: job.Name, UID: job.UID, Controller: &yes}}
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = "0"
	})
	s.pod = server.ChangeStatus(s.t, s.pod, func(st *corev1.PodStatus) {
		for name, code := range map[string]int32{"done": 0, "crashed": 3} {
			st.ContainerStatuses = append(st.ContainerStatuses, corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}})
		}
	})
	s.request.Pod = s.pod
	return job
}

func withBackoffLimit(n int32) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) { s.BackoffLimit = &n }
}

// withFailurePolicy allows this many failures, which rules may change.
func withFailurePolicy(failures int32, rules ...batchv1.PodFailurePolicyRule) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) {
		withBackoffLimit(failures)(s)
		s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: rules}
	}
}

// withIndexedPolicy allows this many failures of each index.
func withIndexedPolicy(failures int32, rules ...batchv1.PodFailurePolicyRule) func(*batchv1.JobSpec) {
	return func(s *batchv1.JobSpec) {
		mode, one := batchv1.IndexedCompletion, int32(1)
		s.CompletionMode, s.Completions, s.BackoffLimitPerIndex = &mode, &one, &failures
		s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: rules}
	}
}

func onCondition(condition corev1.PodConditionType, action batchv1.PodFailurePolicyAction) batchv1.PodFailurePolicyRule {
	return batchv1.PodFailurePolicyRule{
		Action: action, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: condition, Status: corev1.ConditionTrue}},
	}
}

func onExit(action batchv1.PodFailurePolicyAction, op batchv1.PodFailurePolicyOnExitCodesOperator, codes ...int32) batchv1.PodFailurePolicyRule {
	return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: op, Values: codes}}
}

func onExitOf(container string, action batchv1.PodFailurePolicyAction, codes ...int32) batchv1.PodFailurePolicyRule {
	rule := onExit(action, in, codes...)
	rule.OnExitCodes.ContainerName = &container
	return rule
}

const (
	ignore    = batchv1.PodFailurePolicyActionIgnore
	failJob   = batchv1.PodFailurePolicyActionFailJob
	failIndex = batchv1.PodFailurePolicyActionFailIndex
	count     = batchv1.PodFailurePolicyActionCount
	in        = batchv1.PodFailurePolicyOnExitCodesOpIn
	notIn     = batchv1.PodFailurePolicyOnExitCodesOpNotIn
	disrupted = corev1.DisruptionTarget
)

// A pod of a Job is evicted only when the Job creates a new one.
func TestJobs(t *testing.T) {
	for name, tc := range map[string]struct {
		failed int32
		change func(*batchv1.JobSpec)
		held   bool
	}{
		"default":                      {0, func(*batchv1.JobSpec) {}, false},
		"the default is used up":       {6, func(*batchv1.JobSpec) {}, true},
		"one is left":                  {5, func(*batchv1.JobSpec) {}, false},
		"none is allowed":              {0, withBackoffLimit(0), true},
		"its own limit":                {2, withBackoffLimit(3), false},
		"its own limit is used up":     {3, withBackoffLimit(3), true},
		"disruptions are ignored":      {0, withFailurePolicy(0, onCondition(disrupted, ignore)), false},
		"disruptions fail it":          {0, withFailurePolicy(6, onCondition(disrupted, failJob)), true},
		"disruptions count":            {0, withFailurePolicy(1, onCondition(disrupted, count)), false},
		"disruptions count, too often": {1, withFailurePolicy(1, onCondition(disrupted, count)), true},
		"another condition is ignored": {0, withFailurePolicy(0, onCondition("example.com/Other", ignore)), true},
		"another condition fails it":   {0, withFailurePolicy(6, onCondition("example.com/Other", failJob)), false},

		// The first rule that matches counts. A process without a handler ends with 143 of SIGTERM,
		// or with 137 of SIGKILL.
		"an error of the program fails it":     {0, withFailurePolicy(0, onExit(failJob, in, 42), onCondition(disrupted, ignore)), false},
		"SIGTERM fails it before":              {0, withFailurePolicy(6, onExit(failJob, in, 42, 143), onCondition(disrupted, ignore)), true},
		"SIGKILL fails it before":              {0, withFailurePolicy(6, onExit(failJob, in, 137), onCondition(disrupted, ignore)), true},
		"any code but one fails it before":     {0, withFailurePolicy(6, onExit(failJob, notIn, 42), onCondition(disrupted, ignore)), true},
		"any code but theirs fails it before":  {0, withFailurePolicy(0, onExit(failJob, notIn, 3, 137, 143), onCondition(disrupted, ignore)), false},
		"disruptions are ignored before":       {0, withFailurePolicy(0, onCondition(disrupted, ignore), onExit(failJob, notIn, 42)), false},
		"both signals are ignored":             {0, withFailurePolicy(0, onExit(ignore, in, 137, 143)), false},
		"only one of them is ignored":          {0, withFailurePolicy(0, onExit(ignore, in, 143)), true},
		"SIGTERM of the app's container fails": {0, withFailurePolicy(6, onExitOf("app", failJob, 143), onCondition(disrupted, ignore)), true},
		"SIGTERM of one that has ended fails":  {0, withFailurePolicy(6, onExitOf("done", failJob, 143), onCondition(disrupted, ignore)), false},
		"what another ended with fails it":     {0, withFailurePolicy(6, onExitOf("crashed", failJob, 3), onCondition(disrupted, ignore)), true},

		"a failure of the index is allowed":     {0, withIndexedPolicy(1), false},
		"a failure of the index is not allowed": {0, withIndexedPolicy(0), true},
		"disruptions fail the index":            {0, withIndexedPolicy(1, onCondition(disrupted, failIndex)), true},
		"disruptions of the index are ignored":  {0, withIndexedPolicy(0, onCondition(disrupted, ignore)), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.createJob(tc.failed, tc.change)
			if tc.held {
				s.requireHeld(controllers.HeldJobWouldFail, "backoffLimit", "podFailurePolicy")
				return
			}
			s.requireEvicted()
		})
	}
}

func TestAJobThatIsGone(t *testing.T) {
	s := newScenario(t)
	job := s.createJob(0, func(*batchv1.JobSpec) {})
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
	s.requireHeld(controllers.HeldNoController)
}

// A deletion says that it is a disruption; for an eviction, the API server does.
func TestADeletionIsADisruption(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	s.createJob(0, func(*batchv1.JobSpec) {})
	s.requireResult(s.remediate(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	s.requireRemovals("delete")
	s.requireTerminating(30)
	for _, c := range server.Get(t, s.pod).Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == "DeletionByMountwarden" {
			return
		}
	}
	t.Error("the pod has no condition DisruptionTarget")
}
