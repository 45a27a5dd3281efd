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

// The longer an agent has been refused, the less often it reads: first every two seconds, at last every fifteen, give or take a quarter.
func TestPace(t *testing.T) {
	for _, tc := range []struct{ refusedFor, want time.Duration }{
		{0, copyAge}, {10 * time.Second, copyAge}, {40 * time.Second, 5 * time.Second}, {time.Hour, slowestPace},
	} {
		p := pace{since: now.Add(-tc.refusedFor), last: now}
		p.refused(now)
		if left := p.left(now); left < tc.want*3/4 || left > tc.want*5/4 {
			t.Errorf("refused for %s: reads again in %s, want about %s", tc.refusedFor, left, tc.want)
		}
	}
}

func TestPaceEnds(t *testing.T) {
	p := pace{}
	if p.left(now) != 0 {
		t.Error("an agent that was never refused must wait")
	}
	p = pace{since: now.Add(-time.Hour), last: now.Add(-paceEnds - time.Second)}
	p.refused(now)
	if left := p.left(now); left > 2*copyAge {
		t.Errorf("after a minute without a refusal it waits for %s", left)
	}
	p.next = now.Add(24 * time.Hour) // the clock was set back
	if left := p.left(now); left > 2*longestBar {
		t.Errorf("with a clock that was set back it waits for %s", left)
	}
}

// After others were faster an agent waits twice as long each time; each success takes half of that back.
func TestOutrunWaits(t *testing.T) {
	p := pace{}
	for _, seconds := range []int{2, 4, 8, 16, 32, 60, 60} {
		p.outrun(now)
		if left, want := p.left(now), time.Duration(seconds)*time.Second; left < want*3/4 || left > want*5/4 || !p.isBarred(now) {
			t.Errorf("waits for %s, want about %s", left, want)
		}
	}
	p.succeeded()
	p.succeeded()
	p.outrun(now)
	if left := p.left(now); left > 40*time.Second {
		t.Errorf("waits for %s after two successes", left)
	}
	if p.isBarred(now.Add(longestBar)) {
		t.Error("it waits for ever")
	}
	p = pace{wait: longestBar, barred: now.Add(-paceEnds - time.Second)}
	p.outrun(now)
	if left := p.left(now); left > 2*copyAge {
		t.Errorf("a minute after all was over it waits for %s", left)
	}
}

// Ten pods that are held for ten minutes, each asking as soon as it is told to: what that costs.
func TestReadsOfThoseWhoWait(t *testing.T) {
	a := newAgents(t)
	a.reserve(a.store("other", &wire{}, still), ask(func(a *Ask) { a.Node, a.PodUID = "other", "first" }), "")
	w, clock := &wire{}, now
	s := a.store("node-1", w, func() time.Time { return clock })
	due := make([]time.Time, 10)
	for end := now.Add(100 * time.Second); clock.Before(end); clock = clock.Add(100 * time.Millisecond) {
		for i := range due {
			if clock.Before(due[i]) {
				continue
			}
			refusal, err := s.Refuse(t.Context(), ask(func(a *Ask) { a.PodUID = types.UID(fmt.Sprint(i)) }))
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

// An old copy refuses and never lets anybody pass.
func TestAnOldCopyOnlyRefuses(t *testing.T) {
	a := newAgents(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 1, Namespace: 1, Cluster: 1}
	}
	a.reserve(a.store("other", &wire{}, still), another("first"), "")
	w, clock := &wire{}, now
	s := a.store("node-1", w, func() time.Time { return clock })
	refuse := func(want controllers.Held) {
		t.Helper()
		refusal, err := s.Refuse(t.Context(), another("second"))
		if err != nil {
			t.Fatal(err)
		}
		requireHeld(t, refusal, want)
	}
	refuse(controllers.HeldRateLimit)
	s.pace.next, s.pace.last = now.Add(slowestPace), now
	clock = now.Add(copyAge)
	refuse(controllers.HeldRateLimit)
	s.pace.next = now.Add(time.Minute)
	clock = now.Add(span(time.Second) + time.Second) // by the copy there is room again
	refuse(controllers.HeldRateLimit)
	if n := w.calls.Load(); n != 1 {
		t.Errorf("%d reads, want one", n)
	}
	s.pace.next = time.Time{}
	refuse("")
}

// What several pods ask for while a write is on its way goes in one write after it.
func TestChangesAreWrittenTogether(t *testing.T) {
	a := newAgents(t)
	a.change = func(c *config.Config) {
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 50, Namespace: 50, Cluster: 50}
	}
	arrived, proceed := make(chan struct{}), make(chan struct{})
	w := &wire{cut: func(n int32, _ *http.Request) (bool, bool) {
		if n == 1 {
			close(arrived)
			<-proceed
		}
		return false, false
	}}
	s := a.store("node-1", w, still)
	note := func(name string) {
		if _, refusal, err := s.note(t.Context(), another(name)); refusal != nil || err != nil {
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
	for s.inLine() < others {
		runtime.Gosched()
	}
	close(proceed)
	all.Wait()
	if n := w.writes.Load(); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
	if n := len(a.ledger().Entries); n != others+1 {
		t.Errorf("%d entries, want %d", n, others+1)
	}
}

func (s *Store) inLine() int {
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	return len(s.waiting.edits)
}

// An agent that others are always faster than is refused: it knows that nothing was noted.
func TestOutrun(t *testing.T) {
	a := newAgents(t)
	rival := a.store("rival", &wire{}, still)
	n := 0
	w := &wire{cut: func(int32, *http.Request) (bool, bool) {
		n++
		if _, _, err := rival.note(t.Context(), ask(func(a *Ask) {
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
	rival = a.store("rival", &wire{}, still)
	s := a.store("node-1", w, still)
	_, refusal, err := s.Reserve(t.Context(), ask())
	if err != nil {
		t.Fatal(err)
	}
	requireHeld(t, refusal, controllers.HeldRateLimit)
	if refusal.RetryAfter <= 0 {
		t.Errorf("asked again at once: %+v", refusal)
	}
	if a.ledger().find("x-uid") >= 0 {
		t.Error("it was noted all the same")
	}
	before := w.calls.Load()
	if err := s.Close(t.Context(), ask().Entry, controllers.AftermathHealed); !errors.Is(err, errOutrun) {
		t.Errorf("%v, want that it waits", err)
	}
	if n := w.calls.Load() - before; n != 0 || s.inLine() != 0 {
		t.Errorf("%d calls, and %d wait in line", n, s.inLine())
	}
}
