package remediate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// defaultBackoffLimit is that of a Job that does not set one (batch/v1).
const defaultBackoffLimit = 6

// willJobRetry reports whether the Job creates a new pod when this one is disrupted, however its
// containers end after the kubelet's signals.
func willJobRetry(job *batchv1.Job, pod *corev1.Pod) bool {
	for _, code := range []int32{exitOfSIGTERM, exitOfSIGKILL} {
		switch failureAction(job.Spec.PodFailurePolicy, pod, code) {
		case batchv1.PodFailurePolicyActionIgnore:
		case batchv1.PodFailurePolicyActionCount:
			if !allowsFailure(job, pod) {
				return false
			}
		default: // FailJob, FailIndex, and any later action
			return false
		}
	}
	return true
}

// By convention of shells, runtimes and the kubelet, a process that a signal ends has the exit code
// 128 + signal.
const (
	exitOfSIGTERM = 128 + int32(syscall.SIGTERM)
	exitOfSIGKILL = 128 + int32(syscall.SIGKILL)
)

// failureAction returns what the policy says of a pod that is disrupted and whose running
// containers end with the code. The first rule that matches counts (batch/v1,
// PodFailurePolicy.Rules).
func failureAction(policy *batchv1.PodFailurePolicy, pod *corev1.Pod, code int32) batchv1.PodFailurePolicyAction {
	if policy == nil {
		return batchv1.PodFailurePolicyActionCount
	}
	for _, rule := range policy.Rules {
		if matchesExitCode(rule.OnExitCodes, pod, code) || matchesDisruption(rule.OnPodConditions, pod) {
			return rule.Action
		}
	}
	return batchv1.PodFailurePolicyActionCount
}

// matchesExitCode reports whether a container matches that has ended, or that runs and ends with
// the code. Exit code 0 never matches.
func matchesExitCode(r *batchv1.PodFailurePolicyOnExitCodesRequirement, pod *corev1.Pod, code int32) bool {
	if r == nil {
		return false
	}
	return slices.ContainsFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		exit := code
		if s.State.Terminated != nil {
			exit = s.State.Terminated.ExitCode
		}
		listed := slices.Contains(r.Values, exit)
		return exit != 0 && (r.ContainerName == nil || *r.ContainerName == s.Name) && listed == (r.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn)
	})
}

// matchesDisruption reports whether a condition matches that the pod has, or will have when it is
// evicted.
func matchesDisruption(patterns []batchv1.PodFailurePolicyOnPodConditionsPattern, pod *corev1.Pod) bool {
	return slices.ContainsFunc(patterns, func(p batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
		if p.Type == corev1.DisruptionTarget {
			return p.Status == corev1.ConditionTrue
		}
		return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == p.Type && c.Status == p.Status })
	})
}

// allowsFailure reports whether the Job creates a new pod when this one counts as failed.
func allowsFailure(job *batchv1.Job, pod *corev1.Pod) bool {
	if perIndex := job.Spec.BackoffLimitPerIndex; perIndex != nil {
		failures, err := strconv.Atoi(pod.Annotations[batchv1.JobIndexFailureCountAnnotation])
		if err != nil || failures >= int(*perIndex) {
			return false
		}
	}
	limit := int32(defaultBackoffLimit)
	if job.Spec.BackoffLimit != nil {
		limit = *job.Spec.BackoffLimit
	}
	return job.Status.Failed < limit
}

// announceDisruption sets the condition by which a Job's podFailurePolicy tells a disruption from a
// failure (KEP-3329). The API server sets it on an eviction, but not on a deletion. It returns the
// pod as it is in the API then.
func (r *Remediator) announceDisruption(ctx context.Context, live *corev1.Pod) (*corev1.Pod, error) {
	condition := corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByMountwarden", Message: "Mountwarden: a mount of the pod has failed",
		LastTransitionTime: metav1.NewTime(r.Now().Truncate(time.Second)),
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": live.UID, "resourceVersion": live.ResourceVersion},
		"status":   map[string]any{"conditions": []corev1.PodCondition{condition}},
	})
	if err != nil {
		return nil, fmt.Errorf("write the condition %s: %w", corev1.DisruptionTarget, err)
	}
	return r.Client.CoreV1().Pods(live.Namespace).Patch(ctx, live.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

func isJobPod(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job"
}
