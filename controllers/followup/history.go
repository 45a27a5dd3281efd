package followup

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// maxEnded is how many evictions that are over are kept for display.
const maxEnded = 20

// history holds the evictions for the status page: those that are followed, and the last that are
// over. It does not outlive the agent; the ledger does.
type history struct {
	mu       sync.Mutex
	removals []controllers.Removal // the oldest first
}

// storeRemoval adds or replaces what is known of an eviction.
func (h *history) storeRemoval(r controllers.Removal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := h.findRemoval(r.PodUID); i >= 0 {
		h.removals[i] = r
	} else {
		h.removals = append(h.removals, r)
	}
	over := func(r controllers.Removal) bool { return r.Aftermath != controllers.AftermathPending }
	ended := 0
	for _, row := range h.removals {
		if over(row) {
			ended++
		}
	}
	if ended > maxEnded {
		h.removals = slices.Delete(h.removals, slices.IndexFunc(h.removals, over), slices.IndexFunc(h.removals, over)+1)
	}
}

// dropRemoval forgets what turned out to be no eviction.
func (h *history) dropRemoval(pod types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.removals = slices.DeleteFunc(h.removals, func(r controllers.Removal) bool { return r.PodUID == pod })
}

func (h *history) findRemoval(pod types.UID) int {
	return slices.IndexFunc(h.removals, func(r controllers.Removal) bool { return r.PodUID == pod })
}

// Removals returns the evictions that are followed, and the last that are over, the oldest first.
// It reads memory alone.
func (f *Follower) Removals() []controllers.Removal {
	f.history.mu.Lock()
	defer f.history.mu.Unlock()
	return slices.Clone(f.history.removals)
}

// updateHistory writes into the history what is known now. An entry of the ledger is no eviction
// before it is seen to be one.
func (t *tracker) updateHistory(now time.Time) {
	switch released := t.result != nil && t.result.aftermath == controllers.AftermathPending; {
	case released:
		t.history.dropRemoval(t.entry.PodUID)
	case t.unconfirmed && (t.presence == unknown || t.isDoubtful()):
	default:
		t.history.storeRemoval(t.describeRemoval(now))
	}
}

func (t *tracker) describeRemoval(now time.Time) controllers.Removal {
	e := t.entry
	r := controllers.Removal{
		Namespace: e.Namespace, Pod: e.Pod, PodUID: e.PodUID, Owner: e.Owner.String(), Backend: e.Backend, Cause: e.Cause, Since: e.Since,
		At: t.removedAt, Deadline: t.deadline, Gone: t.presence == gone,
	}
	if t.stuckReported && t.presence == present {
		r.Stuck = text.Note(t.stuckReason)
	}
	best, _, _ := t.bestReplacement(now)
	if t.result != nil {
		r.Aftermath, r.Ended, best = t.result.aftermath, t.result.at, t.result.replacement
	}
	if best != nil {
		r.Successor = best.ref.Name
	}
	return r
}
