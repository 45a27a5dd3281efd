package remediate_test

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

// fakes answers what a Remediator asks beside the API server: the cache, the node and the follower.
// By its zero value nothing is paused, a fresh mount would succeed as far as is known, nothing is
// shared, and the last probe finds the mount broken.
type fakes struct {
	paused       map[string]string // annotations that pause, by kind and name
	cacheErr     error             // the error that the cache returns
	pods         []corev1.Pod      // of the node
	freshness    probes.MountReadiness
	consumers    probes.Consumers
	other        *volumeAnswers      // of the node, for a volume whose source is "other"
	lastProbe    *probes.Observation // its result; nil is broken
	omitsMount   bool                // the last probe does not find the mount
	probeTimeout time.Duration       // of the last probe

	mu       sync.Mutex
	asked    []probes.Volume
	followed []ledger.Entry
	recalled int
}

// volumeAnswers are what the node says of a volume.
type volumeAnswers struct {
	freshness probes.MountReadiness
	consumers probes.Consumers
}

// otherDevice is that of the volume with the source "other".
const otherDevice = "0:78"

// Recall implements remediate.Follower.
func (w *fakes) Recall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.recalled++
}

// Get implements client.Reader for the metadata of namespaces and nodes.
func (w *fakes) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	object, ok := into.(*metav1.PartialObjectMetadata)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	if why, set := w.paused[object.Kind+"/"+key.Name]; set {
		object.Annotations = map[string]string{"mountwarden.io/paused": why}
	}
	return w.cacheErr
}

// List implements client.Reader for the pods of the node.
func (w *fakes) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	into.(*corev1.PodList).Items = w.pods
	return w.cacheErr
}

// Probe implements remediate.Node.
func (w *fakes) Probe(_ context.Context, _ probes.Pod, timeout time.Duration) []probes.Observation {
	w.probeTimeout = timeout
	o := probes.Observation{Health: probes.Broken, Cause: probes.CauseDisconnected}
	if w.lastProbe != nil {
		o = *w.lastProbe
	}
	o.Target = target
	if w.omitsMount {
		o.Target.Path = "/other"
	}
	return []probes.Observation{{Target: probes.Target{Container: "other"}, Health: probes.Healthy}, o}
}

// CheckReadiness implements remediate.Node.
func (w *fakes) CheckReadiness(_ context.Context, v probes.Volume) probes.MountReadiness {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, v)
	if w.other != nil && v.Source == "other" {
		return w.other.freshness
	}
	return w.freshness
}

// Consumers implements remediate.Node.
func (w *fakes) Consumers(device string) probes.Consumers {
	if w.other != nil && device == otherDevice {
		return w.other.consumers
	}
	return w.consumers
}

// Follow implements remediate.Follower.
func (w *fakes) Follow(e ledger.Entry, _ *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.followed = append(w.followed, e)
}
