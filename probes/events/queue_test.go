package events

import (
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// startQueue starts a queue that is ended with the test.
func startQueue(t *testing.T, minInterval time.Duration, pods ...string) *eventQueue {
	t.Helper()
	q, quit, ended := newEventQueue(minInterval), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		q.run(quit)
	}()
	t.Cleanup(func() {
		close(quit)
		<-ended
	})
	for _, pod := range pods {
		q.addPod(pod)
	}
	return q
}

func receiveEvent(t *testing.T, q *eventQueue) Event {
	t.Helper()
	select {
	case e := <-q.out:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		return Event{}
	}
}

// A receiver that reads late gets one event of each pod, however often it was announced.
func TestSlowReader(t *testing.T) {
	const pods = 100
	q := startQueue(t, time.Hour)
	for i := range pods {
		q.addPod(fmt.Sprint(i))
	}
	for i := range 100 * pods {
		q.announceEvent(fmt.Sprint(i%pods), probes.TriggerMountTable)
	}
	q.announceEvent("stranger", probes.TriggerMountTable)
	got := map[string]bool{}
	for range pods {
		got[receiveEvent(t, q).Pod] = true
	}
	if len(got) != pods || got["stranger"] {
		t.Errorf("%d pods: %v", len(got), got)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.pods) != pods {
		t.Errorf("remembers %d pods, want %d", len(q.pods), pods)
	}
}

// An announcement after an event was handed out is handed out again, after the interval: the
// receiver may have probed before it.
func TestEventsAreNotLost(t *testing.T) {
	q := startQueue(t, 10*time.Millisecond, "a", "b")
	var last time.Time
	for range 5 {
		q.announceEvent("a", probes.TriggerFUSEDaemon)
		q.announceEvent("a", probes.TriggerMountTable)
		if e := receiveEvent(t, q); e != (Event{Pod: "a", Trigger: probes.TriggerFUSEDaemon}) {
			t.Errorf("%+v", e)
		}
		if now := time.Now(); now.Sub(last) < q.minInterval/2 {
			t.Errorf("%s after the one before", now.Sub(last))
		} else {
			last = now
		}
	}
	q.announceEvent("b", probes.TriggerMountTable)
	if e := receiveEvent(t, q); e.Pod != "b" {
		t.Errorf("the queue still held %+v", e)
	}
}

func TestAnnouncedDuringDelivery(t *testing.T) {
	q, now := newEventQueue(time.Second), time.Now()
	q.addPod("a")
	q.announceEvent("a", probes.TriggerMountTable)
	offered, _ := q.next(now)
	q.announceEvent("a", probes.TriggerMountTable)
	q.confirmDelivery(offered, now)
	if early, wait := q.next(now); early != (delivery{}) || wait != time.Second {
		t.Errorf("%+v in %s, before the gap is over", early, wait)
	}
	if again, _ := q.next(now.Add(time.Second)); again.event.Pod != "a" {
		t.Error("the second announcement is lost")
	}
	q.removePod("a")
	if left, wait := q.next(now.Add(time.Second)); left != (delivery{}) || wait != idleWait {
		t.Errorf("%+v of a pod that is forgotten", left)
	}
	q.confirmDelivery(offered, now)
}

// Continuous events of one pod do not delay another pod's event.
func TestBusyPodDelaysNoOther(t *testing.T) {
	q := startQueue(t, time.Hour, "a", "b")
	q.announceEvent("a", probes.TriggerMountTable)
	receiveEvent(t, q)
	for range 1000 {
		q.announceEvent("a", probes.TriggerMountTable)
	}
	q.announceEvent("b", probes.TriggerFUSEDaemon)
	if e := receiveEvent(t, q); e.Pod != "b" {
		t.Errorf("%+v", e)
	}
}
