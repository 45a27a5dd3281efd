package condition

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// patchTimeout bounds each call to the API server.
const patchTimeout = 5 * time.Second

// Writer writes conditions of pods. Use New to make one.
type Writer struct {
	pods typedcorev1.PodsGetter
}

// New returns a Writer that writes through pods.
func New(pods typedcorev1.PodsGetter) *Writer {
	return &Writer{pods: pods}
}

// WriteCondition sets one condition of the pod with this name and UID, and does not change others.
// The API server rejects the write as invalid if the pod now has another UID, and as not found if
// there is no such pod.
func (w *Writer) WriteCondition(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) error {
	text, err := json.Marshal(newPatch(pod.UID, c))
	if err != nil {
		return fmt.Errorf("write the patch of condition %s: %w", c.Type, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	_, err = w.pods.Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, text, metav1.PatchOptions{FieldManager: "mountwarden"}, "status")
	if err != nil {
		return fmt.Errorf("set condition %s of pod %s/%s to %s: %w", c.Type, pod.Namespace, pod.Name, c.Status, err)
	}
	return nil
}

// conditionFields are what is written of a condition. None is omitted when it is empty: otherwise
// an earlier message would stay.
type conditionFields struct {
	Type               corev1.PodConditionType `json:"type"`
	Status             corev1.ConditionStatus  `json:"status"`
	Reason             string                  `json:"reason"`
	Message            string                  `json:"message"`
	LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
}

// newPatch returns the patch to send. Its UID is a precondition, not a change.
func newPatch(uid types.UID, c corev1.PodCondition) any {
	type status struct {
		Conditions []conditionFields `json:"conditions"`
	}
	type metadata struct {
		UID types.UID `json:"uid"`
	}
	return struct {
		Metadata metadata `json:"metadata"`
		Status   status   `json:"status"`
	}{metadata{uid}, status{[]conditionFields{{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime}}}}
}
