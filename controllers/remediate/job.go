package remediate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// defaultBackoffLimit is that of a Job which does not set one (batch/v1).
const defaultBackoffLimit = 6

// retries reports whether the Job makes a new pod when this one is disrupted.
func retries(job *batchv1.Job, pod *corev1.Pod) bool {
	if policy := job.Spec.PodFailurePolicy; policy != nil && slices.ContainsFunc(policy.Rules, ignoresDisruption) {
		return true
	}
	if perIndex := job.Spec.BackoffLimitPerIndex; perIndex != nil {
		failures, err := strconv.Atoi(pod.Annotations[batchv1.JobIndexFailureCountAnnotation])
		return err == nil && failures < int(*perIndex)
	}
	limit := int32(defaultBackoffLimit)
	if job.Spec.BackoffLimit != nil {
		limit = *job.Spec.BackoffLimit
	}
	return job.Status.Failed < limit
}

func ignoresDisruption(rule batchv1.PodFailurePolicyRule) bool {
	return rule.Action == batchv1.PodFailurePolicyActionIgnore && slices.ContainsFunc(rule.OnPodConditions, func(p batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
		return p.Type == corev1.DisruptionTarget && p.Status == corev1.ConditionTrue
	})
}

// announceDisruption sets the condition by which a Job's podFailurePolicy tells a disruption from a failure (KEP-3329). The
// API server sets it on an eviction; a deletion has to do so itself. It returns the pod as the API server has it then.
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

func isOfJob(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	return owner != nil && owner.Kind == "Job"
}
