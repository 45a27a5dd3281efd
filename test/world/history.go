package world

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Life is what was seen of one pod.
type Life struct {
	Pod     *corev1.Pod // as last seen
	Ending  time.Time   // when a deletionTimestamp was first seen; zero while there is none
	Grace   int64       // deletionGracePeriodSeconds when Ending was seen
	Evicted bool        // the Eviction API set its DisruptionTarget condition
	Gone    time.Time   // when it left the API
}

// History watches the pods of a namespace and remembers every one that was ever there. After an API server was away its
// watch may lag for minutes, as client-go's reflectors back off; Ended asks the API server itself.
type History struct {
	client kubernetes.Interface

	mu    sync.Mutex
	lives map[types.UID]*Life
	stop  context.CancelFunc
	done  chan struct{}
}

// Watch begins a History. Close ends it. It outlives an API server that is away for a while.
func (w *World) Watch(ctx context.Context, namespace string) (*History, error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &History{client: w.Client, lives: map[types.UID]*Life{}, stop: cancel, done: make(chan struct{})}
	factory := informers.NewSharedInformerFactoryWithOptions(w.Client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { h.saw(o) },
		UpdateFunc: func(_, o any) { h.saw(o) },
		DeleteFunc: func(o any) { h.gone(o) },
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch pods of %s: %w", namespace, err)
	}
	factory.Start(ctx.Done())
	go func() {
		defer close(h.done)
		<-ctx.Done()
		factory.Shutdown()
	}()
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		h.Close()
		return nil, fmt.Errorf("watch pods of %s: %w", namespace, ctx.Err())
	}
	return h, nil
}

// Close ends the watch.
func (h *History) Close() {
	h.stop()
	<-h.done
}

func (h *History) saw(o any) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	life, ok := h.lives[pod.UID]
	if !ok {
		life = &Life{}
		h.lives[pod.UID] = life
	}
	life.Pod = pod
	if pod.DeletionTimestamp != nil && life.Ending.IsZero() {
		life.Ending, life.Grace = time.Now(), *pod.DeletionGracePeriodSeconds
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Reason == "EvictionByEvictionAPI" {
			life.Evicted = true
		}
	}
}

func (h *History) gone(o any) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	h.saw(o)
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lives[pod.UID].Gone = time.Now()
}

// Life returns what was seen of the pod with this UID.
func (h *History) Life(uid types.UID) Life {
	h.mu.Lock()
	defer h.mu.Unlock()
	if life, ok := h.lives[uid]; ok {
		return *life
	}
	return Life{}
}

// Pods returns how many pods were ever seen.
func (h *History) Pods() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.lives)
}

// EvictedSince returns the lives of the pods that were evicted after then, in the order of their ends.
func (h *History) EvictedSince(then time.Time) []Life {
	h.mu.Lock()
	defer h.mu.Unlock()
	var evicted []Life
	for _, life := range h.lives {
		if life.Evicted && life.Ending.After(then) {
			evicted = append(evicted, *life)
		}
	}
	slices.SortFunc(evicted, func(a, b Life) int { return a.Ending.Compare(b.Ending) })
	return evicted
}

// Ended waits until the pod has a deletionTimestamp and returns its life.
func (h *History) Ended(ctx context.Context, pod *corev1.Pod) (Life, error) {
	var life Life
	err := Until(ctx, "the end of pod "+pod.Name, func(ctx context.Context) (bool, string) {
		now, err := h.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err == nil && now.UID == pod.UID {
			h.saw(now)
		}
		life = h.Life(pod.UID)
		return !life.Ending.IsZero(), fmt.Sprintf("ending since %s, %v", life.Ending, err)
	})
	return life, err
}

// Saw waits until the pod is part of the history.
func (h *History) Saw(ctx context.Context, pod *corev1.Pod) error {
	return Until(ctx, "the watch to see "+pod.Name, func(context.Context) (bool, string) {
		return h.Life(pod.UID).Pod != nil, ""
	})
}

// Event is an event of any API version, as both show it.
type Event struct {
	Reason, Action, Note, FieldPath string
	Time                            time.Time
}

// Events returns the events that regard an object.
func (w *World) Events(ctx context.Context, namespace string, uid types.UID) ([]Event, error) {
	list, err := w.Client.EventsV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "regarding.uid=" + string(uid)})
	if err != nil {
		return nil, fmt.Errorf("list events of %s: %w", namespace, err)
	}
	var events []Event
	for _, e := range list.Items {
		events = append(events, Event{e.Reason, e.Action, e.Note, e.Regarding.FieldPath, e.EventTime.Time})
	}
	return events, nil
}
