package ledger

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// Owner is who makes a new pod for one that is removed.
type Owner struct {
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

// OwnerOf returns the pod's controller. A pod without one stands for itself, by its name, since whoever makes it anew
// gives it another UID.
func OwnerOf(pod *corev1.Pod) Owner {
	if c := metav1.GetControllerOf(pod); c != nil {
		return Owner{Kind: c.Kind, Name: c.Name, UID: c.UID}
	}
	return Owner{Kind: "Pod", Name: pod.Name, UID: types.UID("pod/" + pod.Namespace + "/" + pod.Name)}
}

// String returns the owner as people write it, such as "ReplicaSet/web".
func (o Owner) String() string { return o.Kind + "/" + o.Name }

// Entry is one removal that was reserved, and most probably done. It is all that is needed to follow it to its end; after that, only what
// says when and where stays.
type Entry struct {
	At        time.Time             `json:"at"` // when it was reserved, by the API server's clock
	Node      string                `json:"node"`
	Namespace string                `json:"namespace"`
	Pod       string                `json:"pod"`
	PodUID    types.UID             `json:"podUID"`
	Owner     Owner                 `json:"owner,omitzero"`
	Backend   string                `json:"backend,omitempty"` // probes.Backend.String of the mount that is the reason
	Case      string                `json:"case,omitempty"`    // the device that several pods of the node share; they are removed together
	Cause     probes.Cause          `json:"cause,omitempty"`
	Since     time.Time             `json:"since,omitzero"`     // since when the mount has been broken
	Grace     int64                 `json:"grace,omitempty"`    // the pod's own grace period, in seconds
	Selector  string                `json:"selector,omitempty"` // label selector that the pod's successors match, too
	Aftermath controllers.Aftermath `json:"aftermath,omitempty"`
	Closed    time.Time             `json:"closed,omitzero"` // when the aftermath was written
}

// SelectorFor returns a label selector that the pod's successors match, too: by what their controller is known to set, or else by all
// labels that are neither of one pod nor of one revision. "" when no label is left: every pod of the namespace matches.
func SelectorFor(pod *corev1.Pod) string {
	for _, key := range []string{appsv1.DefaultDeploymentUniqueLabelKey, batchv1.ControllerUidLabel} {
		if value, set := pod.Labels[key]; set {
			return labels.Set{key: value}.String()
		}
	}
	shared := labels.Set{}
	for key, value := range pod.Labels {
		if !slices.Contains(ownLabels(), key) {
			shared[key] = value
		}
	}
	return shared.String()
}

// ownLabels lists the labels that tell a pod from its successor.
func ownLabels() []string {
	return []string{
		appsv1.StatefulSetPodNameLabel, appsv1.PodIndexLabel, appsv1.ControllerRevisionHashLabelKey,
		"pod-template-generation", batchv1.JobCompletionIndexAnnotation,
	}
}
