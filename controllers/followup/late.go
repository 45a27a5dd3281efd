package followup

import (
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

const (
	// lateFor is for how long beyond its deadline a removal is followed that has no healthy successor: its owner's other pods are held
	// until there is one, for so long at most (see package ledger).
	lateFor = 4 * time.Hour
	// maxLate is how many such removals one agent follows. Each costs a watch.
	maxLate = 16
)

// mayHealLate reports whether a successor may be healthy after the end, and nobody else would tell: one that is broken for good is removed,
// and followed, in turn.
func (p *pursuit) mayHealLate() bool {
	return p.end != nil && (p.end.isOfNothing() || p.end.aftermath == controllers.AftermathStillBroken && p.entry.Cause.Recoverable())
}

// isLate reports whether the removal is followed for a successor that becomes healthy after all.
func (p *pursuit) isLate(now time.Time) bool {
	return p.late && p.mayHealLate() && now.Before(p.deadline.Add(lateFor))
}

// healLate replaces the end, which is noted and reported again.
func (p *pursuit) healLate(f finding) {
	p.end, p.noted, p.noteAt, p.noting = &f, false, time.Time{}, patience()
}

// enterLate reports whether there is room for one more removal to be followed so.
func (f *Follower) enterLate() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late >= maxLate {
		return false
	}
	f.late++
	return true
}

// leaveLate gives the room back.
func (p *pursuit) leaveLate() {
	if !p.late {
		return
	}
	p.late = false
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Follower.late--
}
