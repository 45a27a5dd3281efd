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

// callTimeout bounds each call to the API server.
const callTimeout = 5 * time.Second

// Writer writes conditions of pods. Its zero value is of no use: see New.
type Writer struct {
	pods typedcorev1.PodsGetter
}

// New returns a Writer that writes through pods.
func New(pods typedcorev1.PodsGetter) *Writer {
	return &Writer{pods: pods}
}

// WriteCondition sets one condition of the pod with this name and UID, and leaves all others alone. A pod that has another UID by
// now is refused as invalid, one that is gone as not found.
func (w *Writer) WriteCondition(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) error {
	text, err := json.Marshal(patchOf(pod.UID, c))
	if err != nil {
		return fmt.Errorf("write the patch of condition %s: %w", c.Type, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = w.pods.Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, text, metav1.PatchOptions{FieldManager: "mountwarden"}, "status")
	if err != nil {
		return fmt.Errorf("set condition %s of pod %s/%s to %s: %w", c.Type, pod.Namespace, pod.Name, c.Status, err)
	}
	return nil
}

// fields are what is written of a condition. None is left out when it is empty: a message of before would stay.
type fields struct {
	Type               corev1.PodConditionType `json:"type"`
	Status             corev1.ConditionStatus  `json:"status"`
	Reason             string                  `json:"reason"`
	Message            string                  `json:"message"`
	LastTransitionTime metav1.Time             `json:"lastTransitionTime"`
}

// patchOf returns the patch as it is sent: the UID is a precondition, not a change.
func patchOf(uid types.UID, c corev1.PodCondition) any {
	type status struct {
		Conditions []fields `json:"conditions"`
	}
	type metadata struct {
		UID types.UID `json:"uid"`
	}
	return struct {
		Metadata metadata `json:"metadata"`
		Status   status   `json:"status"`
	}{metadata{uid}, status{[]fields{{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime}}}}
}
