package events

import (
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Event says that a probe of the pod is due.
type Event struct {
	Pod     string // probes.Pod.UID
	Trigger probes.Trigger
}

// eventQueue hands out the events that are due. It holds at most one event of each pod, and waits for
// minInterval between two events of one pod. It holds events only of pods that were added.
type eventQueue struct {
	minInterval time.Duration
	out         chan Event
	wake        chan struct{} // capacity 1

	mu   sync.Mutex
	pods map[string]*pendingEvent
}

// pendingEvent is what the queue knows of one pod.
type pendingEvent struct {
	trigger   probes.Trigger // of the first event that is due; "" when none is
	notBefore time.Time      // the earliest time for the next event
	announced uint64         // how many events were announced
}

// delivery is an event that is being handed out, with the count of announcements at that moment.
type delivery struct {
	event     Event
	announced uint64 // pendingEvent.announced at that moment
}

func newEventQueue(minInterval time.Duration) *eventQueue {
	return &eventQueue{minInterval: minInterval, out: make(chan Event), wake: make(chan struct{}, 1), pods: map[string]*pendingEvent{}}
}

func (q *eventQueue) addPod(pod string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pods[pod] == nil {
		q.pods[pod] = &pendingEvent{}
	}
}

// removePod drops the pod and its pending event.
func (q *eventQueue) removePod(pod string) {
	q.mu.Lock()
	delete(q.pods, pod)
	q.mu.Unlock()
	q.wakeLoop()
}

// announceEvent makes a probe of the pod due. It never blocks.
func (q *eventQueue) announceEvent(pod string, trigger probes.Trigger) {
	q.mu.Lock()
	if p := q.pods[pod]; p != nil {
		p.announced++
		if p.trigger == "" {
			p.trigger = trigger
		}
	}
	q.mu.Unlock()
	q.wakeLoop()
}

func (q *eventQueue) wakeLoop() {
	select {
	case q.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// run hands out events until quit is closed.
func (q *eventQueue) run(quit <-chan struct{}) {
	timer := time.NewTimer(idleWait)
	defer timer.Stop()
	for {
		next, wait := q.next(time.Now())
		out := q.out
		if next.event == (Event{}) {
			out = nil // nothing to hand out
		}
		timer.Reset(wait)
		select {
		case out <- next.event:
			q.confirmDelivery(next, time.Now())
		case <-q.wake:
		case <-timer.C:
		case <-quit:
			return
		}
	}
}

// idleWait is how long the queue waits when nothing is due. An announcement wakes it earlier.
const idleWait = time.Hour

// next returns the event that may be handed out now, or how long to wait. The pod that has waited
// longest comes first.
func (q *eventQueue) next(now time.Time) (next delivery, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = idleWait
	for pod, p := range q.pods {
		if left := p.notBefore.Sub(now); p.trigger != "" && left < wait {
			wait = left
			next = delivery{event: Event{Pod: pod, Trigger: p.trigger}, announced: p.announced}
		}
	}
	if wait > 0 {
		return delivery{}, wait
	}
	return next, idleWait
}

// confirmDelivery starts the interval before the pod's next event. An announcement since next was
// called keeps the pod due: the receiver may have probed before it.
func (q *eventQueue) confirmDelivery(d delivery, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pods[d.event.Pod]
	if p == nil {
		return
	}
	p.notBefore = now.Add(q.minInterval)
	if p.announced == d.announced {
		p.trigger = ""
	}
}
