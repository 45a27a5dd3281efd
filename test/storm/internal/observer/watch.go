package observer

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// watch begins all watches.
func (o *Observer) watch(ctx context.Context, running *sync.WaitGroup) error {
	for _, ns := range o.Namespaces {
		pods := informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithNamespace(ns), informers.WithTweakListOptions(func(l *metav1.ListOptions) {
			l.LabelSelector = o.Label
		})).Core().V1().Pods().Informer()
		events := informers.NewSharedInformerFactoryWithOptions(o.Client, 0, informers.WithNamespace(ns)).Events().V1().Events().Informer()
		if err := events.SetTransform(dropped); err != nil {
			return fmt.Errorf("watch events: %w", err)
		}
		for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{pods: o.podHandler(), events: o.eventHandler()} {
			if _, err := informer.AddEventHandler(handler); err != nil {
				return fmt.Errorf("watch: %w", err)
			}
			running.Go(func() { informer.RunWithContext(ctx) })
			if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				return fmt.Errorf("watch: %w", context.Cause(ctx))
			}
		}
	}
	return nil
}

// dropped leaves of an event only what is judged by: there may be many.
func dropped(object any) (any, error) {
	e, ok := object.(*eventsv1.Event)
	if !ok {
		return object, nil
	}
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: e.Name, UID: e.UID, ResourceVersion: e.ResourceVersion, CreationTimestamp: e.CreationTimestamp},
		Reason:     e.Reason, Regarding: corev1.ObjectReference{UID: e.Regarding.UID},
	}, nil
}

func (o *Observer) podHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { o.see(object, false) },
		UpdateFunc: func(_, object any) { o.see(object, false) },
		DeleteFunc: func(object any) {
			if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			o.see(object, true)
		},
	}
}

func (o *Observer) eventHandler() cache.ResourceEventHandler {
	note := func(object any) {
		if e, ok := object.(*eventsv1.Event); ok {
			o.hear(e)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: note, UpdateFunc: func(_, object any) { note(object) }}
}

// hear takes note of an event that says why a pod stays.
func (o *Observer) hear(e *eventsv1.Event) {
	if e.Reason != "RemediationHeld" && e.Reason != "RemediationBlocked" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if p, ok := o.pods[e.Regarding.UID]; ok {
		p.told = time.Now()
	}
}

// see takes note of a change of a pod.
func (o *Observer) see(object any, gone bool) {
	live, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen++
	p := o.know(live)
	now := time.Now()
	if fault := live.Annotations[AnnotationFault]; fault != p.fault {
		p.fault, p.since, p.untold = fault, now, false
	}
	if p.running.IsZero() && live.Status.Phase == corev1.PodRunning && live.DeletionTimestamp == nil {
		p.running = now
		if p.follows != nil {
			p.follows.up = now
		}
	}
	if p.follows != nil && p.fault != "" && !p.running.IsZero() && now.Sub(p.running) < vainWithin {
		p.follows.broken = true
	}
	p.gone = p.gone || gone
	if live.DeletionTimestamp != nil && p.ending == nil {
		p.ending, p.ended = live, o.seen
		o.matchWaiting(p)
	}
	o.unhealthy.note(p, now)
}

func (o *Observer) know(live *corev1.Pod) *pod {
	if p, ok := o.pods[live.UID]; ok {
		return p
	}
	p := &pod{name: live.Namespace + "/" + live.Name, uid: live.UID, born: o.seen, judged: isJudged(live)}
	if c := metav1.GetControllerOf(live); c != nil {
		p.owner = c.UID
	}
	o.pods[p.uid] = p
	own := o.owner(p.owner)
	own.fresh = append(own.fresh, p)
	o.adopt(own)
	return p
}

func (o *Observer) owner(uid types.UID) *owner {
	own, ok := o.owners[uid]
	if !ok {
		own = &owner{}
		o.owners[uid] = own
	}
	return own
}

func (o *Observer) matchWaiting(p *pod) {
	var left []call
	for _, c := range o.waiting {
		if c.UID == p.uid || c.UID == "" && c.Pod.String() == p.name {
			o.match(p, c)
		} else {
			left = append(left, c)
		}
	}
	o.waiting = left
}
