package world

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
)

// The kinds of owners.
const (
	ReplicaSet  = "ReplicaSet"  // makes a successor as soon as a pod is ending
	StatefulSet = "StatefulSet" // makes one of the same name when the pod is gone
)

// Owner keeps pods.
type Owner struct {
	Namespace   string
	Name        string
	Kind        string
	Replicas    int
	Backend     string            // the CSI driver of its pods' only volume
	Nodes       []string          // of its pods; all nodes of the world when empty
	Annotations map[string]string // of its pods; nil opts in and asks for looks every second
}

type owner struct{ Owner }

func (o *owner) key() types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

func ownerKey(p *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: metav1.GetControllerOf(p).Name}
}

// Add has the pods of the owner made.
func (w *World) Add(o Owner) {
	if o.Annotations == nil {
		o.Annotations = map[string]string{config.AnnotationWatch: "true"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	added := &owner{o}
	w.owners[added.key()] = added
	w.queue.Add(task{owner: added.key()})
}

// keep makes the pods that the owner lacks.
func (w *World) keep(ctx context.Context, key types.NamespacedName) error {
	for _, p := range w.lacking(key) {
		made, err := w.Client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			continue // the old one is not gone yet, or the watch is behind
		}
		if err != nil {
			return fmt.Errorf("make pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		w.mu.Lock()
		w.know(made)
		w.mu.Unlock()
	}
	return nil
}

func (w *World) lacking(key types.NamespacedName) (pods []*corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o, ok := w.owners[key]
	if !ok {
		return nil
	}
	names, alive := w.present(o)
	if o.Kind == StatefulSet {
		for i := range o.Replicas {
			if name := o.Name + "-" + strconv.Itoa(i); !names[name] {
				pods = append(pods, w.object(o, name))
			}
		}
		return pods
	}
	for range o.Replicas - alive {
		w.made++
		pods = append(pods, w.object(o, fmt.Sprintf("%s-%05d", o.Name, w.made)))
	}
	return pods
}

// present returns the names of the owner's pods, and how many of them are not ending.
func (w *World) present(o *owner) (names map[string]bool, alive int) {
	names = map[string]bool{}
	for _, p := range w.pods {
		if p.owner != o.key() {
			continue
		}
		names[p.key.Name] = true
		if !p.ending {
			alive++
		}
	}
	return names, alive
}

// object is a new pod, bound to a node at once.
func (w *World) object(o *owner, name string) *corev1.Pod {
	yes, grace := true, int64(1)
	node := w.Node(w.rand.IntN(w.Nodes))
	if len(o.Nodes) > 0 {
		node = o.Nodes[w.rand.IntN(len(o.Nodes))]
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Namespace, Name: name, Labels: map[string]string{Label: w.Name, "app": o.Name}, Annotations: o.Annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: o.Kind, Name: o.Name, UID: types.UID("uid-of-" + o.Namespace + "-" + o.Name), Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &grace,
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: o.Backend}}}},
			Containers: []corev1.Container{{
				Name: "app", Image: "app", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
		},
	}
}
