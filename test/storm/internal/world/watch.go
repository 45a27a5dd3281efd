package world

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Event is one change of a pod, as a watch tells it.
type Event struct {
	Pod  *corev1.Pod // not to be changed
	Gone bool
}

// Run plays the world until ctx ends. It closes ready when the watch has begun.
func (w *World) Run(ctx context.Context, ready chan<- struct{}) error {
	factory := informers.NewSharedInformerFactoryWithOptions(w.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = Label + "=" + w.Name
	}))
	informer := factory.Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(w.handler()); err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { informer.RunWithContext(ctx) })
	for range w.Workers {
		running.Go(func() { w.work(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("watch pods: %w", context.Cause(ctx))
	}
	close(ready)
	<-ctx.Done()
	w.queue.ShutDown()
	running.Wait()
	return w.Err()
}

func (w *World) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.tell(o, false) },
		UpdateFunc: w.change,
		DeleteFunc: func(o any) { w.tell(o, true) },
	}
}

// change tells of the end of the old pod, too, where another of the same name has come while the watch was away.
func (w *World) change(before, o any) {
	old, isPod := before.(*corev1.Pod)
	if now, ok := o.(*corev1.Pod); ok && isPod && now.UID != old.UID {
		w.tell(old, true)
	}
	w.tell(o, false)
}

func (w *World) tell(o any, gone bool) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	object, ok := o.(*corev1.Pod)
	if !ok {
		w.fail(fmt.Errorf("the watch of pods told of a %T", o))
		return
	}
	w.see(object, gone)
	for _, watcher := range w.watchers {
		watcher(Event{object, gone})
	}
}

// see keeps what is known of pods up to date, and has done what a kubelet and a controller would do next.
func (w *World) see(object *corev1.Pod, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		delete(w.pods, object.UID)
		w.gone[object.UID] = true
		w.queue.Add(task{owner: ownerKey(object)})
		return
	}
	p := w.know(object)
	if p == nil || object.DeletionTimestamp == nil || p.ending {
		return
	}
	p.ending, p.due = true, time.Now().Add(w.about(w.Grace))
	w.queue.AddAfter(task{pod: p.uid}, time.Until(p.due))
	w.queue.Add(task{owner: p.owner})
}

// know returns the pod, made known if it is new; nil when it is gone, which a slow answer to its making may come after.
func (w *World) know(object *corev1.Pod) *pod {
	if w.gone[object.UID] {
		return nil
	}
	if p, ok := w.pods[object.UID]; ok {
		return p
	}
	p := &pod{
		key: types.NamespacedName{Namespace: object.Namespace, Name: object.Name}, uid: object.UID, node: object.Spec.NodeName,
		owner: ownerKey(object), backend: object.Spec.Volumes[0].CSI.Driver, due: time.Now().Add(w.about(w.Start)),
	}
	w.pods[p.uid] = p
	w.queue.AddAfter(task{pod: p.uid}, time.Until(p.due))
	return p
}
