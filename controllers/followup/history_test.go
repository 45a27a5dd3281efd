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

func newRemoval(i int, a controllers.Aftermath) controllers.Removal {
	return controllers.Removal{PodUID: types.UID(fmt.Sprint(i)), Pod: fmt.Sprint("pod-", i), Aftermath: a}
}

// All that are followed are kept, and the last of those that are over.
func TestHistoryIsBounded(t *testing.T) {
	f := New(newFakeParts().options(nil))
	f.history.storeRemoval(newRemoval(-1, controllers.AftermathPending))
	for i := range 100 {
		f.history.storeRemoval(newRemoval(i, controllers.AftermathPending))
		f.history.storeRemoval(newRemoval(i, controllers.AftermathHealed))
	}
	got := f.Removals()
	if len(got) != maxEnded+1 || got[0].PodUID != "-1" || got[1].PodUID != "80" || got[maxEnded].PodUID != "99" {
		t.Errorf("remembers %+v", got)
	}
	f.history.dropRemoval("-1")
	f.history.dropRemoval("nobody")
	if rest := f.Removals(); len(rest) != maxEnded || got[0].PodUID != "-1" {
		t.Errorf("after a drop %+v; what was handed out begins with %+v", rest, got[0])
	}
}

// newTestTracker returns a tracker of an eviction that began now, without its goroutine.
func newTestTracker(t *testing.T, change func(*tracker)) (*Follower, *tracker, time.Time) {
	t.Helper()
	f := New(newFakeParts().options(nil))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := ledger.Entry{
		At: now, Namespace: "shop", Pod: "web-1", PodUID: "u1", Owner: ledger.Owner{Kind: "ReplicaSet", Name: "web", UID: "o1"}, Backend: "CSI/x",
		Cause: probes.CauseStale, Since: now.Add(-time.Second), Grace: 30,
	}
	p := newTracker(f, e, now)
	change(p)
	p.updateHistory(now)
	return f, p, now
}

func TestHistoryOfARemoval(t *testing.T) {
	f, p, now := newTestTracker(t, func(*tracker) {})
	got := f.Removals()
	want := controllers.Removal{
		Namespace: "shop", Pod: "web-1", PodUID: "u1", Owner: "ReplicaSet/web", Backend: "CSI/x", Cause: probes.CauseStale,
		Since: now.Add(-time.Second), At: now, Deadline: now.Add(330 * time.Second),
	}
	if !slices.Equal(got, []controllers.Removal{want}) {
		t.Fatalf("recorded %+v, want %+v", got, want)
	}
	successor := podSnapshot{ref: &corev1.ObjectReference{Name: "web-2"}, created: now}
	p.pods["u2"], p.presence = successor, gone
	p.updateHistory(now)
	if got := f.Removals()[0]; got.Successor != "web-2" || !got.Gone || got.Aftermath != controllers.AftermathPending {
		t.Errorf("with a successor: %+v", got)
	}
	p.result = &followUpResult{aftermath: controllers.AftermathHealed, replacement: &successor, at: now.Add(time.Second)}
	delete(p.pods, "u2") // it may be gone again
	p.updateHistory(now.Add(time.Minute))
	if got := f.Removals()[0]; got.Successor != "web-2" || got.Aftermath != controllers.AftermathHealed || !got.Ended.Equal(now.Add(time.Second)) {
		t.Errorf("in the end: %+v", got)
	}
}

// What was reserved and perhaps never done is not shown before it is seen to be an eviction, nor
// after it was given back.
func TestDoubtfulRemovalsAreNotShown(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*tracker)
		told   bool
	}{
		"of this agent":                {func(*tracker) {}, true},
		"from the ledger, not seen":    {func(p *tracker) { p.unconfirmed = true }, false},
		"from the ledger, still there": {func(p *tracker) { p.unconfirmed, p.presence = true, present }, false},
		"from the ledger, ending":      {func(p *tracker) { p.unconfirmed, p.presence, p.removedPod.terminating = true, present, true }, true},
		"from the ledger, gone":        {func(p *tracker) { p.unconfirmed, p.presence = true, gone }, true},
		"given back":                   {func(p *tracker) { p.result = &followUpResult{} }, false},
	} {
		if f, _, _ := newTestTracker(t, tc.change); (len(f.Removals()) == 1) != tc.told {
			t.Errorf("%s: told %+v, want %v", name, f.Removals(), tc.told)
		}
	}
	f, p, now := newTestTracker(t, func(*tracker) {})
	p.result = &followUpResult{}
	p.updateHistory(now)
	if got := f.Removals(); len(got) != 0 {
		t.Errorf("what was given back is still told: %+v", got)
	}
}

func TestStuckReasonIsShown(t *testing.T) {
	f, p, now := newTestTracker(t, func(p *tracker) { p.stuckReason = "waits\nin fuse " + strings.Repeat("x", 5000) })
	if got := f.Removals()[0].Stuck; got != "" {
		t.Errorf("told before its time: %q", got)
	}
	p.stuckReported, p.presence = true, present
	p.updateHistory(now)
	if got := f.Removals()[0].Stuck; !strings.HasPrefix(got, "waits in fuse") || len(got) > text.MaxNote {
		t.Errorf("told %d bytes: %.40q", len(got), got)
	}
}

// The whole way on a real API server: the pod terminates, is gone, has a replacement, and that is
// healthy.
func TestRemovalsFromBeginningToEnd(t *testing.T) {
	s := newAPIScenario(t)
	f, _ := s.startFollower(t, s.client)
	f.Follow(s.deletePod(), s.old)
	told := func(is func(controllers.Removal) bool) func() bool {
		return func() bool {
			all := f.Removals()
			return len(all) == 1 && is(all[0])
		}
	}
	apitest.Eventually(t, "it is told as ending", told(func(r controllers.Removal) bool { return !r.Gone && r.Pod == "web-1" && r.Aftermath == "" }))
	successor := s.createReplacement("web-2")
	server.Vanish(t, s.old)
	apitest.Eventually(t, "it is gone, with a successor", told(func(r controllers.Removal) bool { return r.Gone && r.Successor == "web-2" }))
	s.setMountsCondition(successor, corev1.ConditionTrue, "")
	s.expectEnd(controllers.AftermathHealed)
	apitest.Eventually(t, "it is told as healed", told(func(r controllers.Removal) bool {
		return r.Aftermath == controllers.AftermathHealed && r.Successor == "web-2" && !r.Ended.IsZero()
	}))
}
