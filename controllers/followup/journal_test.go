package followup

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

func row(i int, a controllers.Aftermath) controllers.Removal {
	return controllers.Removal{PodUID: types.UID(fmt.Sprint(i)), Pod: fmt.Sprint("pod-", i), Aftermath: a}
}

// Those that are followed all stay; of those that are over the last ones do.
func TestJournalIsBounded(t *testing.T) {
	f := New(newWorld().options(nil))
	f.journal.note(row(-1, controllers.AftermathPending))
	for i := range 100 {
		f.journal.note(row(i, controllers.AftermathPending))
		f.journal.note(row(i, controllers.AftermathHealed))
	}
	got := f.Removals()
	if len(got) != maxEnded+1 || got[0].PodUID != "-1" || got[1].PodUID != "80" || got[maxEnded].PodUID != "99" {
		t.Errorf("remembers %+v", got)
	}
	f.journal.drop("-1")
	f.journal.drop("nobody")
	if rest := f.Removals(); len(rest) != maxEnded || got[0].PodUID != "-1" {
		t.Errorf("after a drop %+v; what was handed out begins with %+v", rest, got[0])
	}
}

// pursued is a removal that was begun now, without its goroutine.
func pursued(t *testing.T, change func(*pursuit)) (*Follower, *pursuit, time.Time) {
	t.Helper()
	f := New(newWorld().options(nil))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := ledger.Entry{
		At: now, Namespace: "shop", Pod: "web-1", PodUID: "u1", Owner: ledger.Owner{Kind: "ReplicaSet", Name: "web", UID: "o1"}, Backend: "CSI/x",
		Cause: probes.CauseStale, Since: now.Add(-time.Second), Grace: 30,
	}
	p := newPursuit(f, e, now)
	change(p)
	p.record(now)
	return f, p, now
}

func TestRecordOfARemoval(t *testing.T) {
	f, p, now := pursued(t, func(*pursuit) {})
	got := f.Removals()
	want := controllers.Removal{
		Namespace: "shop", Pod: "web-1", PodUID: "u1", Owner: "ReplicaSet/web", Backend: "CSI/x", Cause: probes.CauseStale,
		Since: now.Add(-time.Second), At: now, Deadline: now.Add(330 * time.Second),
	}
	if !slices.Equal(got, []controllers.Removal{want}) {
		t.Fatalf("recorded %+v, want %+v", got, want)
	}
	successor := sight{ref: &corev1.ObjectReference{Name: "web-2"}, created: now}
	p.pods["u2"], p.presence = successor, gone
	p.record(now)
	if got := f.Removals()[0]; got.Successor != "web-2" || !got.Gone || got.Aftermath != controllers.AftermathPending {
		t.Errorf("with a successor: %+v", got)
	}
	p.end = &finding{aftermath: controllers.AftermathHealed, successor: &successor, at: now.Add(time.Second)}
	delete(p.pods, "u2") // it may be gone again
	p.record(now.Add(time.Minute))
	if got := f.Removals()[0]; got.Successor != "web-2" || got.Aftermath != controllers.AftermathHealed || !got.Ended.Equal(now.Add(time.Second)) {
		t.Errorf("in the end: %+v", got)
	}
}

// What was reserved and perhaps never done is no removal before it is seen to be one, nor after it was given back.
func TestDoubtfulRemovalsAreNotTold(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pursuit)
		told   bool
	}{
		"of this agent":               {func(*pursuit) {}, true},
		"from the books, not seen":    {func(p *pursuit) { p.unsure = true }, false},
		"from the books, still there": {func(p *pursuit) { p.unsure, p.presence = true, present }, false},
		"from the books, ending":      {func(p *pursuit) { p.unsure, p.presence, p.removed.ending = true, present, true }, true},
		"from the books, gone":        {func(p *pursuit) { p.unsure, p.presence = true, gone }, true},
		"given back":                  {func(p *pursuit) { p.end = &finding{} }, false},
	} {
		if f, _, _ := pursued(t, tc.change); (len(f.Removals()) == 1) != tc.told {
			t.Errorf("%s: told %+v, want %v", name, f.Removals(), tc.told)
		}
	}
	f, p, now := pursued(t, func(*pursuit) {})
	p.end = &finding{}
	p.record(now)
	if got := f.Removals(); len(got) != 0 {
		t.Errorf("what was given back is still told: %+v", got)
	}
}

func TestWhyItIsStuckIsTold(t *testing.T) {
	f, p, now := pursued(t, func(p *pursuit) { p.why = "waits\nin fuse " + strings.Repeat("x", 5000) })
	if got := f.Removals()[0].Stuck; got != "" {
		t.Errorf("told before its time: %q", got)
	}
	p.told, p.presence = true, present
	p.record(now)
	if got := f.Removals()[0].Stuck; !strings.HasPrefix(got, "waits in fuse") || len(got) > text.MaxNote {
		t.Errorf("told %d bytes: %.40q", len(got), got)
	}
}

// The whole way on a real API server: it ends, it is gone, it has a successor, and that is healthy.
func TestRemovalsFromBeginningToEnd(t *testing.T) {
	s := newScene(t)
	f, _ := s.run(t, s.client)
	f.Follow(s.remove(), s.old)
	told := func(is func(controllers.Removal) bool) func() bool {
		return func() bool {
			all := f.Removals()
			return len(all) == 1 && is(all[0])
		}
	}
	apitest.Eventually(t, "it is told as ending", told(func(r controllers.Removal) bool { return !r.Gone && r.Pod == "web-1" && r.Aftermath == "" }))
	successor := s.successor("web-2")
	server.Vanish(t, s.old)
	apitest.Eventually(t, "it is gone, with a successor", told(func(r controllers.Removal) bool { return r.Gone && r.Successor == "web-2" }))
	s.tell(successor, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	apitest.Eventually(t, "it is told as healed", told(func(r controllers.Removal) bool {
		return r.Aftermath == controllers.AftermathHealed && r.Successor == "web-2" && !r.Ended.IsZero()
	}))
}
