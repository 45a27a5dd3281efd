package followup

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

var errAway = errors.New("the API server is away")

// fakeCluster is a fake clientset, with which the minutes of an outage pass at once. Every call
// fails while away is set.
type fakeCluster struct {
	*fake.Clientset
	away    atomic.Bool
	watches atomic.Int32 // how often one was asked for
}

// newFakeCluster begins each watch with the pods, of which only the first can be read.
func newFakeCluster(pods ...*corev1.Pod) *fakeCluster {
	p := &fakeCluster{Clientset: fake.NewClientset(pods[0])}
	p.PrependReactor("*", "*", func(ktesting.Action) (bool, runtime.Object, error) {
		if p.away.Load() {
			return true, nil, errAway
		}
		return false, nil, nil
	})
	p.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) {
		p.watches.Add(1)
		if p.away.Load() {
			return true, nil, errAway
		}
		w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: len(pods)})
		for _, pod := range pods {
			w.Add(pod)
		}
		return true, w, nil
	})
	return p
}

// newOutageScenario has a pod evicted now, and a replacement with healthy mounts.
func newOutageScenario() (old *corev1.Pod, entry ledger.Entry, client *fakeCluster) {
	old, next := podOf("old", 0), podOf("new", 0, mounts("True", 0))
	entry = entryOf(old)
	entry.At = time.Now()
	entry.Since = entry.At
	next.CreationTimestamp.Time = entry.At
	ending(old)
	return old, entry, newFakeCluster(old, next)
}

// advanceTime lets time pass, and waits for all that follows from it.
func advanceTime(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// An outage of twenty minutes loses no result, and the agent does not try every moment.
func TestUnreachableLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		w := newFakeParts()
		w.ledgerErr = errAway
		f, _ := w.startFollower(t, client)
		f.Follow(entry, old)
		advanceTime(20 * time.Minute)
		if len(w.events) != 2 || len(w.ended) != 0 { // it is stuck, too, since nothing ends it
			t.Errorf("told before it was noted: %q %v", w.events, w.ended)
		}
		if w.ledgerCalls < 20 || w.ledgerCalls > 250 {
			t.Errorf("%d times asked in 20 minutes", w.ledgerCalls)
		}
		w.withLock(func() { w.ledgerErr = nil })
		advanceTime(time.Minute + time.Second)
		if w.closedAs(old.UID) != controllers.AftermathHealed || len(w.ended) != 1 || len(w.events) != 4 {
			t.Errorf("closed %v, counted %v, told %q", w.closed, w.ended, w.events)
		}
		if got := w.took[controllers.PhaseHeal]; len(got) != 1 || got[0] > time.Minute {
			t.Errorf("healed within %v: the time of the outage counts", got)
		}
	})
}

// Without the API server nothing is seen, and nothing is concluded. When it is back, the follower
// continues.
func TestUnreachableAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		client.away.Store(true)
		w := newFakeParts()
		f, _ := w.startFollower(t, client)
		f.Follow(entry, old)
		advanceTime(time.Hour)
		if n := client.watches.Load(); n < 60 || n > 250 {
			t.Errorf("%d watches were tried in an hour", n)
		}
		if len(w.ended) > 0 || w.whys > 0 {
			t.Errorf("concluded %v, explained %d times", w.ended, w.whys)
		}
		client.away.Store(false)
		advanceTime(2 * time.Minute)
		if w.closedAs(old.UID) != controllers.AftermathHealed {
			t.Errorf("closed %v", w.closed)
		}
		if len(w.logged) != 4 { // out of sight, in sight, does not end, ended
			t.Errorf("logged %d lines: %q", len(w.logged), w.logged)
		}
	})
}

// A watch whose packets are lost looks like one that has nothing to report. At the deadline nothing
// is concluded from it.
func TestSilentWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		var opened atomic.Bool
		client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) {
			return opened.CompareAndSwap(false, true), watch.NewFake(), nil
		})
		w := newFakeParts()
		f, _ := w.startFollower(t, client)
		f.Follow(entry, old)
		advanceTime(time.Second)
		client.away.Store(true)
		advanceTime(time.Duration(w.config.FollowUpSeconds)*time.Second + 10*time.Minute)
		if !opened.Load() || len(w.ended) > 0 {
			t.Fatalf("concluded %v", w.ended)
		}
		client.away.Store(false)
		advanceTime(2 * time.Minute)
		if got := w.closedAs(old.UID); got != controllers.AftermathHealed {
			t.Errorf("closed as %q, want %s", got, controllers.AftermathHealed)
		}
	})
}

// An API server that accepts watches and ends them at once is asked with a backoff.
func TestWatchesEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) {
			client.watches.Add(1)
			w := watch.NewFake()
			w.Stop()
			return true, w, nil
		})
		w := newFakeParts()
		f, _ := w.startFollower(t, client)
		f.Follow(entry, old)
		advanceTime(time.Hour)
		if n := client.watches.Load(); n < 60 || n > 250 {
			t.Errorf("%d watches in an hour", n)
		}
	})
}

// A pod that never ends is followed for a day.
func TestMaxFollowTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		w := newFakeParts()
		f, _ := w.startFollower(t, client)
		f.Follow(entry, old)
		advanceTime(maxFollowTime - time.Minute)
		if f.following() != 1 || len(w.events) != 4 {
			t.Errorf("%d followed, told %q", f.following(), w.events)
		}
		advanceTime(2 * time.Minute)
		if f.following() != 0 {
			t.Errorf("%d followed after a day", f.following())
		}
	})
}

// An agent that starts during an outage continues with pending evictions when it is over.
func TestUnreachablePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := newOutageScenario()
		w := newFakeParts()
		w.pending, w.ledgerErr = []ledger.Entry{entry}, errAway
		w.startFollower(t, client)
		advanceTime(5 * time.Minute)
		if w.ledgerCalls < 5 || w.ledgerCalls > 60 || len(w.logged) != 1 {
			t.Errorf("asked %d times, logged %q", w.ledgerCalls, w.logged)
		}
		w.withLock(func() { w.ledgerErr = nil })
		advanceTime(2 * time.Minute)
		if w.closedAs(old.UID) != controllers.AftermathHealed {
			t.Errorf("closed %v", w.closed)
		}
	})
}
