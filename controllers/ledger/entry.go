package ledger

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// Owner is the controller that creates the replacement of an evicted pod.
type Owner struct {
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

// The API server bounds neither the kind nor the name nor the UID of an owner reference
// (apimachinery, ValidateOwnerReferences), and the ledger is shared. Longer ones are abbreviated.
const (
	maxOwnerKind = validation.DNS1035LabelMaxLength
	maxOwnerName = validation.DNS1123SubdomainMaxLength
	maxOwnerUID  = 64 // bytes; the API server's own UIDs have 36
)

// maxSelector bounds the selector of an entry, in bytes. That is enough for the one label that the
// built-in controllers set.
const maxSelector = 512

// OwnerOf returns the pod's controller, with bounded fields. A pod without one stands for itself,
// by its name, because its replacement has another UID.
func OwnerOf(pod *corev1.Pod) Owner {
	if c := metav1.GetControllerOf(pod); c != nil {
		return Owner{
			Kind: abbreviateText(c.Kind, maxOwnerKind), Name: abbreviateText(c.Name, maxOwnerName), UID: types.UID(abbreviateText(string(c.UID), maxOwnerUID)),
		}
	}
	return Owner{Kind: "Pod", Name: pod.Name, UID: types.UID("pod/" + pod.Namespace + "/" + pod.Name)}
}

// abbreviateText replaces text that is longer than limit bytes, or would be once it is JSON, by its
// plain characters and a hash of the whole. Texts that differ stay different.
func abbreviateText(text string, limit int) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, text)
	if plain == text && len(text) <= limit {
		return text
	}
	sum := fmt.Sprintf("-%x", sha256.Sum256([]byte(text)))[:17]
	return plain[:min(len(plain), limit-len(sum))] + sum
}

// String returns the owner as people write it, such as "ReplicaSet/web".
func (o Owner) String() string { return o.Kind + "/" + o.Name }

// MaxWellFor bounds Entry.WellFor: a replacement pod that was healthy for this long has proven
// itself, whatever the pod's annotations say.
const MaxWellFor = 10 * time.Minute

// Entry is one eviction that was reserved, and most probably done. It holds all that is needed to
// follow it to its end. Once it is closed, only what the budgets count is kept.
type Entry struct {
	At        time.Time             `json:"at"` // when it was reserved, by the API server's clock
	Node      string                `json:"node"`
	Namespace string                `json:"namespace"`
	Pod       string                `json:"pod"`
	PodUID    types.UID             `json:"podUID"`
	Owner     Owner                 `json:"owner,omitzero"`
	Backend   string                `json:"backend,omitempty"` // probes.Backend.String of the mount that is the reason
	Case      string                `json:"case,omitempty"`    // device that the pod shares with others of its node
	Cause     probes.Cause          `json:"cause,omitempty"`
	Since     time.Time             `json:"since,omitzero"`     // since when the mount has been broken
	Grace     int64                 `json:"grace,omitempty"`    // the pod's own grace period, in seconds
	WellFor   int64                 `json:"wellFor,omitempty"`  // seconds that a replacement must be healthy
	Up        bool                  `json:"up,omitempty"`       // a replacement is healthy, but not for WellFor yet
	Selector  string                `json:"selector,omitempty"` // matches the replacement too; at most 512 bytes
	Aftermath controllers.Aftermath `json:"aftermath,omitempty"`
	Closed    time.Time             `json:"closed,omitzero"` // when the aftermath was written
}

// SelectorFor returns a label selector that the pod's replacement matches too: by what their
// controller is known to set, or else by all labels that are neither of one pod nor of one
// revision. It returns "", which matches every pod of the namespace, when no label is left or the
// selector would be too long.
func SelectorFor(pod *corev1.Pod) string {
	selector := formatSelector(pod)
	if len(selector) > maxSelector {
		return ""
	}
	return selector
}

func formatSelector(pod *corev1.Pod) string {
	for _, key := range []string{appsv1.DefaultDeploymentUniqueLabelKey, batchv1.ControllerUidLabel} {
		if value, set := pod.Labels[key]; set {
			return labels.Set{key: value}.String()
		}
	}
	shared := labels.Set{}
	for key, value := range pod.Labels {
		if !slices.Contains(podSpecificLabels(), key) {
			shared[key] = value
		}
	}
	return shared.String()
}

// podSpecificLabels lists the labels that differ between a pod and its replacement.
func podSpecificLabels() []string {
	return []string{
		appsv1.StatefulSetPodNameLabel, appsv1.PodIndexLabel, appsv1.ControllerRevisionHashLabelKey,
		"pod-template-generation", batchv1.JobCompletionIndexAnnotation,
	}
}
