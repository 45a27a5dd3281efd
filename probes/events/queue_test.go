package events

import (
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// newRunning starts a queue that is ended with the test.
func newRunning(t *testing.T, gap time.Duration, pods ...string) *queue {
	t.Helper()
	q, quit, ended := newQueue(gap), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		q.run(quit)
	}()
	t.Cleanup(func() {
		close(quit)
		<-ended
	})
	for _, pod := range pods {
		q.add(pod)
	}
	return q
}

func receive(t *testing.T, q *queue) Event {
	t.Helper()
	select {
	case e := <-q.out:
		return e
	case <-time.After(patience):
		t.Fatal("no event")
		return Event{}
	}
}

// Whoever reads late gets one event of each pod that is due, however often it was announced.
func TestSlowReader(t *testing.T) {
	const pods = 100
	q := newRunning(t, time.Hour)
	for i := range pods {
		q.add(fmt.Sprint(i))
	}
	for i := range 100 * pods {
		q.announce(fmt.Sprint(i%pods), probes.TriggerMountTable)
	}
	q.announce("stranger", probes.TriggerMountTable)
	got := map[string]bool{}
	for range pods {
		got[receive(t, q).Pod] = true
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

// What happens after an event was handed out is announced again, after the gap: the reader may have looked before.
func TestNothingIsLost(t *testing.T) {
	q := newRunning(t, 10*time.Millisecond, "a", "b")
	var last time.Time
	for range 5 {
		q.announce("a", probes.TriggerFUSEDaemon)
		q.announce("a", probes.TriggerMountTable)
		if e := receive(t, q); e != (Event{Pod: "a", Trigger: probes.TriggerFUSEDaemon}) {
			t.Errorf("%+v", e)
		}
		if now := time.Now(); now.Sub(last) < q.gap/2 {
			t.Errorf("%s after the one before", now.Sub(last))
		} else {
			last = now
		}
	}
	q.announce("b", probes.TriggerMountTable)
	if e := receive(t, q); e.Pod != "b" {
		t.Errorf("the queue still held %+v", e)
	}
}

func TestAnnouncedWhileOnItsWay(t *testing.T) {
	q, now := newQueue(time.Second), time.Now()
	q.add("a")
	q.announce("a", probes.TriggerMountTable)
	offered, _ := q.next(now)
	q.announce("a", probes.TriggerMountTable)
	q.handedOut(offered, now)
	if early, wait := q.next(now); early != (offer{}) || wait != time.Second {
		t.Errorf("%+v in %s, before the gap is over", early, wait)
	}
	if again, _ := q.next(now.Add(time.Second)); again.event.Pod != "a" {
		t.Error("the second announcement is lost")
	}
	q.remove("a")
	if left, wait := q.next(now.Add(time.Second)); left != (offer{}) || wait != idle {
		t.Errorf("%+v of a pod that is forgotten", left)
	}
	q.handedOut(offered, now)
}

// One pod's storm does not delay another pod's event.
func TestStormOfAnother(t *testing.T) {
	q := newRunning(t, time.Hour, "a", "b")
	q.announce("a", probes.TriggerMountTable)
	receive(t, q)
	for range 1000 {
		q.announce("a", probes.TriggerMountTable)
	}
	q.announce("b", probes.TriggerFUSEDaemon)
	if e := receive(t, q); e.Pod != "b" {
		t.Errorf("%+v", e)
	}
}
