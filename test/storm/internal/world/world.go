package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"

	"github.com/mountwarden/mountwarden/probes"
)

// Label is the label that every pod of a world has; its value is the world's name.
const Label = "storm.example/world"

// Options say what the world is made of.
type Options struct {
	Client     kubernetes.Interface // of the kubelets and controllers; nobody counts its deletions
	Name       string               // starts the names of its nodes and namespaces
	Nodes      int
	Namespaces int
	Start      time.Duration // for how long a pod starts, more or less
	Grace      time.Duration // how soon it ends when asked to, more or less
	Workers    int           // requests at a time
	Seed       uint64
	Skew       func(node string) time.Duration // by how much a node's clock is wrong; nil: not at all
}

// World is the played cluster.
type World struct {
	Options
	queue workqueue.TypedDelayingInterface[task]

	mu       sync.Mutex
	rand     *rand.Rand
	pods     map[types.UID]*pod
	gone     map[types.UID]bool // that were seen to go
	owners   map[types.NamespacedName]*owner
	down     map[place]bool
	made     int
	watchers []func(Event)
	onFault  []func(node string, pod types.UID)
	fatal    error
}

// place is a backend as one node sees it.
type place struct{ backend, node string }

// pod is one that exists.
type pod struct {
	key     types.NamespacedName
	uid     types.UID
	node    string
	owner   types.NamespacedName
	backend string
	mounted bool      // it runs; its mounts were made
	since   time.Time // when they were
	ending  bool
	due     time.Time    // when it starts, or ends
	fault   probes.Cause // CauseNone is healthy
	broken  time.Time    // when that began
	unknown bool         // no look can tell
	scarred bool         // it is well again, and its annotation does not say so yet
}

// New returns a world without pods.
func New(o Options) *World {
	return &World{
		Options: o, queue: workqueue.NewTypedDelayingQueue[task](), rand: rand.New(rand.NewPCG(o.Seed, 1)),
		pods: map[types.UID]*pod{}, gone: map[types.UID]bool{}, owners: map[types.NamespacedName]*owner{}, down: map[place]bool{},
	}
}

// Node returns the name of the i-th node.
func (w *World) Node(i int) string { return fmt.Sprintf("%s-node-%d", w.Name, i%w.Nodes) }

// Namespace returns the name of the i-th namespace.
func (w *World) Namespace(i int) string { return fmt.Sprintf("%s-%d", w.Name, i%w.Namespaces) }

// OnEvent has f called for every change of a pod, in order and one at a time. Register before Run.
func (w *World) OnEvent(f func(Event)) { w.watchers = append(w.watchers, f) }

// OnFault has f called when a mount begins to be broken: what the kernel tells an agent. Register before Run.
func (w *World) OnFault(f func(node string, pod types.UID)) { w.onFault = append(w.onFault, f) }

// Found makes the namespaces.
func (w *World) Found(ctx context.Context) error {
	for i := range w.Namespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace(i)}}
		if _, err := w.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make a namespace: %w", err)
		}
	}
	return nil
}

// about returns d, give or take a half.
func (w *World) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(w.rand.Int64N(int64(d)+1))
}

// fail notes what should never happen in a world.
func (w *World) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fatal == nil {
		w.fatal = err
	}
}

// Err returns the first thing that went wrong with the world itself: what was seen in it is worth nothing then.
func (w *World) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fatal
}
