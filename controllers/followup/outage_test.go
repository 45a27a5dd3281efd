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

// play is an API server at the level of data, so that the minutes of an outage pass at once. It is away while away is set.
type play struct {
	*fake.Clientset
	away    atomic.Bool
	watches atomic.Int32 // how often one was asked for
}

// newPlay returns one that begins each watch with the pods, of which the first is there to be read.
func newPlay(pods ...*corev1.Pod) *play {
	p := &play{Clientset: fake.NewClientset(pods[0])}
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

// scenario has a pod removed now, and a successor with healthy mounts.
func scenario() (old *corev1.Pod, entry ledger.Entry, client *play) {
	old, next := podOf("old", 0), podOf("new", 0, mounts("True", 0))
	entry = entryOf(old)
	entry.At = time.Now()
	entry.Since = entry.At
	next.CreationTimestamp.Time = entry.At
	ending(old)
	return old, entry, newPlay(old, next)
}

// leap lets time pass, and waits for all that it brings about.
func leap(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// An outage of twenty minutes loses no end of a removal, and the agent does not ask every moment.
func TestBooksAreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		w := newWorld()
		w.deaf = errAway
		f, _ := w.run(t, client)
		f.Follow(entry, old)
		leap(20 * time.Minute)
		if len(w.events) != 2 || len(w.ended) != 0 { // it is stuck, too, since nothing ends it
			t.Errorf("told before it was noted: %q %v", w.events, w.ended)
		}
		if w.asked < 20 || w.asked > 250 {
			t.Errorf("%d times asked in 20 minutes", w.asked)
		}
		w.do(func() { w.deaf = nil })
		leap(time.Minute + time.Second)
		if w.end(old.UID) != controllers.AftermathHealed || len(w.ended) != 1 || len(w.events) != 4 {
			t.Errorf("closed %v, counted %v, told %q", w.closed, w.ended, w.events)
		}
		if got := w.took[controllers.PhaseHeal]; len(got) != 1 || got[0] > time.Minute {
			t.Errorf("healed within %v: the time of the outage counts", got)
		}
	})
}

// Without the API server nothing is seen, and nothing is concluded; when it is back, it goes on.
func TestAPIServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		client.away.Store(true)
		w := newWorld()
		f, _ := w.run(t, client)
		f.Follow(entry, old)
		leap(time.Hour)
		if n := client.watches.Load(); n < 60 || n > 250 {
			t.Errorf("%d watches were tried in an hour", n)
		}
		if len(w.ended) > 0 || w.whys > 0 {
			t.Errorf("concluded %v, explained %d times", w.ended, w.whys)
		}
		client.away.Store(false)
		leap(2 * time.Minute)
		if w.end(old.UID) != controllers.AftermathHealed {
			t.Errorf("closed %v", w.closed)
		}
		if len(w.logged) != 4 { // out of sight, in sight, does not end, ended
			t.Errorf("logged %d lines: %q", len(w.logged), w.logged)
		}
	})
}

// A watch whose packets are lost looks like one that has nothing to tell. At the deadline nothing is concluded from that.
func TestAWatchThatDiesInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		var opened atomic.Bool
		client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) {
			return opened.CompareAndSwap(false, true), watch.NewFake(), nil
		})
		w := newWorld()
		f, _ := w.run(t, client)
		f.Follow(entry, old)
		leap(time.Second)
		client.away.Store(true)
		leap(time.Duration(w.config.FollowUpSeconds)*time.Second + 10*time.Minute)
		if !opened.Load() || len(w.ended) > 0 {
			t.Fatalf("concluded %v", w.ended)
		}
		client.away.Store(false)
		leap(2 * time.Minute)
		if got := w.end(old.UID); got != controllers.AftermathHealed {
			t.Errorf("closed as %q, want %s", got, controllers.AftermathHealed)
		}
	})
}

// An API server that accepts watches and ends them at once is not asked without end.
func TestWatchesEndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		client.PrependWatchReactor("pods", func(ktesting.Action) (bool, watch.Interface, error) {
			client.watches.Add(1)
			w := watch.NewFake()
			w.Stop()
			return true, w, nil
		})
		w := newWorld()
		f, _ := w.run(t, client)
		f.Follow(entry, old)
		leap(time.Hour)
		if n := client.watches.Load(); n < 60 || n > 250 {
			t.Errorf("%d watches in an hour", n)
		}
	})
}

// A pod that never ends is let go after a day.
func TestLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		w := newWorld()
		f, _ := w.run(t, client)
		f.Follow(entry, old)
		leap(longest - time.Minute)
		if f.following() != 1 || len(w.events) != 4 {
			t.Errorf("%d followed, told %q", f.following(), w.events)
		}
		leap(2 * time.Minute)
		if f.following() != 0 {
			t.Errorf("%d followed after a day", f.following())
		}
	})
}

// An agent that starts during an outage goes on with the removals of before when it is over.
func TestPendingIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, entry, client := scenario()
		w := newWorld()
		w.pending, w.deaf = []ledger.Entry{entry}, errAway
		w.run(t, client)
		leap(5 * time.Minute)
		if w.asked < 5 || w.asked > 60 || len(w.logged) != 1 {
			t.Errorf("asked %d times, logged %q", w.asked, w.logged)
		}
		w.do(func() { w.deaf = nil })
		leap(2 * time.Minute)
		if w.end(old.UID) != controllers.AftermathHealed {
			t.Errorf("closed %v", w.closed)
		}
	})
}
