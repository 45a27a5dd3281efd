package events

import (
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Event says that a look at the pod is due.
type Event struct {
	Pod     string // probes.Pod.UID
	Trigger probes.Trigger
}

// queue hands out what is due: at most one event of each pod waits in it, and none is handed out sooner after the last one of its
// pod than the gap. It holds no more than the pods that were added.
type queue struct {
	gap  time.Duration
	out  chan Event
	wake chan struct{} // capacity 1

	mu   sync.Mutex
	pods map[string]*turn
}

// turn is what the queue knows of a pod.
type turn struct {
	trigger probes.Trigger // of the first event that is due; "" when none is
	ready   time.Time      // not to be handed out before
	count   uint64         // of all announcements
}

// offer is an event on its way out, with the count at which it was taken.
type offer struct {
	event Event
	count uint64
}

func newQueue(gap time.Duration) *queue {
	return &queue{gap: gap, out: make(chan Event), wake: make(chan struct{}, 1), pods: map[string]*turn{}}
}

func (q *queue) add(pod string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pods[pod] == nil {
		q.pods[pod] = &turn{}
	}
}

// remove forgets the pod and what is due of it.
func (q *queue) remove(pod string) {
	q.mu.Lock()
	delete(q.pods, pod)
	q.mu.Unlock()
	q.rouse()
}

// announce makes a look at the pod due. It never blocks.
func (q *queue) announce(pod string, trigger probes.Trigger) {
	q.mu.Lock()
	if t := q.pods[pod]; t != nil {
		t.count++
		if t.trigger == "" {
			t.trigger = trigger
		}
	}
	q.mu.Unlock()
	q.rouse()
}

func (q *queue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// run hands out events until quit is closed.
func (q *queue) run(quit <-chan struct{}) {
	timer := time.NewTimer(idle)
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
			q.handedOut(next, time.Now())
		case <-q.wake:
		case <-timer.C:
		case <-quit:
			return
		}
	}
}

// idle is how long the queue waits when nothing is due; an announcement rouses it.
const idle = time.Hour

// next returns what may be handed out now, or how long to wait. Of several the one that has waited longest comes first.
func (q *queue) next(now time.Time) (next offer, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = idle
	for pod, t := range q.pods {
		if left := t.ready.Sub(now); t.trigger != "" && left < wait {
			wait = left
			next = offer{event: Event{Pod: pod, Trigger: t.trigger}, count: t.count}
		}
	}
	if wait > 0 {
		return offer{}, wait
	}
	return next, idle
}

// handedOut starts the pod's gap. What was announced since the offer was made stays due: the reader may have looked before.
func (q *queue) handedOut(o offer, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.pods[o.event.Pod]
	if t == nil {
		return
	}
	t.ready = now.Add(q.gap)
	if t.count == o.count {
		t.trigger = ""
	}
}
