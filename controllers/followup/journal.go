package followup

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// maxEnded is how many removals that are over are remembered for people.
const maxEnded = 20

// journal is what people are told of removals: those that are followed, and the last that are over. It does not outlive the agent; the
// books do.
type journal struct {
	mu   sync.Mutex
	rows []controllers.Removal // the oldest first
}

// note writes what is known of a removal now.
func (j *journal) note(r controllers.Removal) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := j.find(r.PodUID); i >= 0 {
		j.rows[i] = r
	} else {
		j.rows = append(j.rows, r)
	}
	over := func(r controllers.Removal) bool { return r.Aftermath != controllers.AftermathPending }
	ended := 0
	for _, row := range j.rows {
		if over(row) {
			ended++
		}
	}
	if ended > maxEnded {
		j.rows = slices.Delete(j.rows, slices.IndexFunc(j.rows, over), slices.IndexFunc(j.rows, over)+1)
	}
}

// drop forgets what was no removal in the end.
func (j *journal) drop(pod types.UID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rows = slices.DeleteFunc(j.rows, func(r controllers.Removal) bool { return r.PodUID == pod })
}

func (j *journal) find(pod types.UID) int {
	return slices.IndexFunc(j.rows, func(r controllers.Removal) bool { return r.PodUID == pod })
}

// Removals returns the removals that are followed, and the last that are over, the oldest first. It reads memory alone.
func (f *Follower) Removals() []controllers.Removal {
	f.journal.mu.Lock()
	defer f.journal.mu.Unlock()
	return slices.Clone(f.journal.rows)
}

// record writes into the journal what is known now. What was read from the books is no removal before it is seen to be one.
func (p *pursuit) record(now time.Time) {
	switch released := p.end != nil && p.end.aftermath == controllers.AftermathPending; {
	case released:
		p.journal.drop(p.entry.PodUID)
	case p.unsure && (p.presence == unknown || p.doubtful()):
	default:
		p.journal.note(p.removal(now))
	}
}

func (p *pursuit) removal(now time.Time) controllers.Removal {
	e := p.entry
	r := controllers.Removal{
		Namespace: e.Namespace, Pod: e.Pod, PodUID: e.PodUID, Owner: e.Owner.String(), Backend: e.Backend, Cause: e.Cause, Since: e.Since,
		At: p.removedAt, Deadline: p.deadline, Gone: p.presence == gone,
	}
	if p.told && p.presence == present {
		r.Stuck = text.Note(p.why)
	}
	best, _, _ := p.best(now)
	if p.end != nil {
		r.Aftermath, r.Ended, best = p.end.aftermath, p.end.at, p.end.successor
	}
	if best != nil {
		r.Successor = best.ref.Name
	}
	return r
}
