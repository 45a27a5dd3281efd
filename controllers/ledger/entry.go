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

// Owner is who makes a new pod for one that is removed.
type Owner struct {
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	UID  types.UID `json:"uid"`
}

// The API server bounds neither the kind nor the name nor the UID of an owner reference
// (apimachinery, ValidateOwnerReferences), and the ledger is shared: longer ones are abbreviated.
const (
	maxOwnerKind = validation.DNS1035LabelMaxLength
	maxOwnerName = validation.DNS1123SubdomainMaxLength
	maxOwnerUID  = 64 // bytes; the API server's own UIDs have 36
)

// maxSelector bounds the selector of an entry, in bytes. It has room for the one label that the built-in controllers set.
const maxSelector = 512

// OwnerOf returns the pod's controller, with bounded fields. A pod without one stands for itself, by its name, since
// whoever makes a new one gives it another UID.
func OwnerOf(pod *corev1.Pod) Owner {
	if c := metav1.GetControllerOf(pod); c != nil {
		return Owner{
			Kind: abbreviate(c.Kind, maxOwnerKind), Name: abbreviate(c.Name, maxOwnerName), UID: types.UID(abbreviate(string(c.UID), maxOwnerUID)),
		}
	}
	return Owner{Kind: "Pod", Name: pod.Name, UID: types.UID("pod/" + pod.Namespace + "/" + pod.Name)}
}

// abbreviate replaces text that is longer than limit bytes, or would be once it is JSON, by as much of it as is plain and a hash of the
// whole: what differs stays different.
func abbreviate(text string, limit int) string {
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

// MaxWellFor bounds Entry.WellFor: a replacement that was well for so long has proven itself, whatever the pod's annotations say.
const MaxWellFor = 10 * time.Minute

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
	WellFor   int64                 `json:"wellFor,omitempty"`  // seconds for which a replacement must be seen well before it counts as healthy
	Up        bool                  `json:"up,omitempty"`       // a replacement is well, and has to be so for WellFor
	Selector  string                `json:"selector,omitempty"` // label selector that the pod's successors match, too; at most 512 bytes
	Aftermath controllers.Aftermath `json:"aftermath,omitempty"`
	Closed    time.Time             `json:"closed,omitzero"` // when the aftermath was written
}

// SelectorFor returns a label selector that the pod's successors match, too: by what their controller is known to set, or else by all
// labels that are neither of one pod nor of one revision. "" when no label is left, or too many are: every pod of the namespace matches.
func SelectorFor(pod *corev1.Pod) string {
	selector := selectorFor(pod)
	if len(selector) > maxSelector {
		return ""
	}
	return selector
}

func selectorFor(pod *corev1.Pod) string {
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
