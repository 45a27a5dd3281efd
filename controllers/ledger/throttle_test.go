package ledger

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// The longer an agent has been refused, the less often it reads: first every two seconds, at last
// every fifteen, give or take a quarter.
func TestThrottleSlowsReads(t *testing.T) {
	for _, tc := range []struct{ refusedFor, want time.Duration }{
		{0, maxCopyAge}, {10 * time.Second, maxCopyAge}, {40 * time.Second, 5 * time.Second}, {time.Hour, maxReadDelay},
	} {
		p := throttle{refusedSince: now.Add(-tc.refusedFor), refusedLast: now}
		p.recordRefusal(now)
		if left := p.remainingWait(now); left < tc.want*3/4 || left > tc.want*5/4 {
			t.Errorf("refused for %s: reads again in %s, want about %s", tc.refusedFor, left, tc.want)
		}
	}
}

func TestThrottleResets(t *testing.T) {
	p := throttle{}
	if p.remainingWait(now) != 0 {
		t.Error("an agent that was never refused must wait")
	}
	p = throttle{refusedSince: now.Add(-time.Hour), refusedLast: now.Add(-throttleReset - time.Second)}
	p.recordRefusal(now)
	if left := p.remainingWait(now); left > 2*maxCopyAge {
		t.Errorf("after a minute without a refusal it waits for %s", left)
	}
	p.nextRead = now.Add(24 * time.Hour) // the clock was set back
	if left := p.remainingWait(now); left > 2*maxBlock {
		t.Errorf("with a clock that was set back it waits for %s", left)
	}
}

// After contention an agent waits twice as long each time; each success takes half of that
// back.
func TestContentionBlocksWrites(t *testing.T) {
	p := throttle{}
	for _, seconds := range []int{2, 4, 8, 16, 32, 60, 60} {
		p.recordContention(now)
		if left, want := p.remainingWait(now), time.Duration(seconds)*time.Second; left < want*3/4 || left > want*5/4 || !p.isBlocked(now) {
			t.Errorf("waits for %s, want about %s", left, want)
		}
	}
	p.recordSuccess()
	p.recordSuccess()
	p.recordContention(now)
	if left := p.remainingWait(now); left > 40*time.Second {
		t.Errorf("waits for %s after two successes", left)
	}
	if p.isBlocked(now.Add(maxBlock)) {
		t.Error("it waits for ever")
	}
	p = throttle{blockFor: maxBlock, blockedUntil: now.Add(-throttleReset - time.Second)}
	p.recordContention(now)
	if left := p.remainingWait(now); left > 2*maxCopyAge {
		t.Errorf("a minute after all was over it waits for %s", left)
	}
}

// Ten pods that are held for ten minutes, each asking as soon as it may: what that costs.
func TestRefusedAgentsReadLess(t *testing.T) {
	a := newSharedLedger(t)
	a.requireReserve(a.newStore("other", &faultyTransport{}, fixedClock), newAsk(func(a *Ask) { a.Node, a.PodUID = "other", "first" }), "")
	w, clock := &faultyTransport{}, now
	s := a.newStore("node-1", w, func() time.Time { return clock })
	due := make([]time.Time, 10)
	for end := now.Add(100 * time.Second); clock.Before(end); clock = clock.Add(100 * time.Millisecond) {
		for i := range due {
			if clock.Before(due[i]) {
				continue
			}
			refusal, err := s.Refuse(t.Context(), newAsk(func(a *Ask) { a.PodUID = types.UID(fmt.Sprint(i)) }))
			if err != nil || refusal == nil {
				t.Fatal(refusal, err)
			}
			due[i] = clock.Add(refusal.RetryAfter)
		}
	}
	if n := w.calls.Load(); n < 15 || n > 35 {
		t.Errorf("%d reads in 100 s, want between 15 and 35: one each 2 s at first, each 12 s at last", n)
	}
}

// An old copy refuses and never grants.
func TestStaleCopyOnlyRefuses(t *testing.T) {
	a := newSharedLedger(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 1, Namespace: 1, Cluster: 1}
	}
	a.requireReserve(a.newStore("other", &faultyTransport{}, fixedClock), newUnrelatedAsk("first"), "")
	w, clock := &faultyTransport{}, now
	s := a.newStore("node-1", w, func() time.Time { return clock })
	refuse := func(want controllers.Held) {
		t.Helper()
		refusal, err := s.Refuse(t.Context(), newUnrelatedAsk("second"))
		if err != nil {
			t.Fatal(err)
		}
		requireHeld(t, refusal, want)
	}
	refuse(controllers.HeldRateLimit)
	s.throttle.nextRead, s.throttle.refusedLast = now.Add(maxReadDelay), now
	clock = now.Add(maxCopyAge)
	refuse(controllers.HeldRateLimit)
	s.throttle.nextRead = now.Add(time.Minute)
	clock = now.Add(countedFor(time.Second) + time.Second) // by the copy there is room again
	refuse(controllers.HeldRateLimit)
	if n := w.calls.Load(); n != 1 {
		t.Errorf("%d reads, want one", n)
	}
	s.throttle.nextRead = time.Time{}
	refuse("")
}

// What several pods ask for while a write is under way is one write after it.
func TestPendingEditsAreOneWrite(t *testing.T) {
	a := newSharedLedger(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 50, Namespace: 50, Cluster: 50}
	}
	arrived, proceed := make(chan struct{}), make(chan struct{})
	w := &faultyTransport{cut: func(n int32, _ *http.Request) (bool, bool) {
		if n == 1 {
			close(arrived)
			<-proceed
		}
		return false, false
	}}
	s := a.newStore("node-1", w, fixedClock)
	note := func(name string) {
		if _, refusal, err := s.addEntry(t.Context(), newUnrelatedAsk(name)); refusal != nil || err != nil {
			t.Error(refusal, err)
		}
	}
	var all sync.WaitGroup
	all.Go(func() { note("first") })
	<-arrived
	const others = 9
	for i := range others {
		all.Go(func() { note(fmt.Sprint("other-", i)) })
	}
	for s.countPending() < others {
		runtime.Gosched()
	}
	close(proceed)
	all.Wait()
	if n := w.writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	if n := len(a.readState().Entries); n != others+1 {
		t.Errorf("%d entries, want %d", n, others+1)
	}
}

func (s *Store) countPending() int {
	s.pending.mu.Lock()
	defer s.pending.mu.Unlock()
	return len(s.pending.edits)
}

// An agent whose writes always conflict is refused: it is certain that nothing was written.
func TestContendedLedger(t *testing.T) {
	a := newSharedLedger(t)
	rival := a.newStore("rival", &faultyTransport{}, fixedClock)
	n := 0
	w := &faultyTransport{cut: func(int32, *http.Request) (bool, bool) {
		n++
		if _, _, err := rival.addEntry(t.Context(), newAsk(func(a *Ask) {
			a.Node, a.PodUID, a.Owner.UID, a.Backend = "rival", types.UID(fmt.Sprint(n)), types.UID(fmt.Sprint(n)), fmt.Sprint(n)
			a.Namespace = fmt.Sprint(n)
		})); err != nil {
			t.Error(err)
		}
		return false, false
	}}
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 50, Namespace: 50, Cluster: 50}
	}
	rival = a.newStore("rival", &faultyTransport{}, fixedClock)
	s := a.newStore("node-1", w, fixedClock)
	_, refusal, err := s.Reserve(t.Context(), newAsk())
	if err != nil {
		t.Fatal(err)
	}
	requireHeld(t, refusal, controllers.HeldRateLimit)
	if refusal.RetryAfter <= 0 {
		t.Errorf("asked again at once: %+v", refusal)
	}
	if a.readState().findEntry("x-uid") >= 0 {
		t.Error("it was noted all the same")
	}
	before := w.calls.Load()
	if err := s.Close(t.Context(), newAsk().Entry, controllers.AftermathHealed); !errors.Is(err, errContended) {
		t.Errorf("%v, want that it waits", err)
	}
	if n := w.calls.Load() - before; n != 0 || s.countPending() != 0 {
		t.Errorf("%d calls, and %d wait in line", n, s.countPending())
	}
}
