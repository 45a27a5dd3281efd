package followup

import (
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

const (
	// lateFor is for how long beyond its deadline a removal is followed that has no healthy successor: its owner's other pods are held
	// until there is one.
	lateFor = time.Hour
	// maxLate is how many such removals one agent follows. Each costs a watch.
	maxLate = 16
)

// isLate reports whether the removal is followed for a successor that becomes healthy after all.
func (p *pursuit) isLate(now time.Time) bool {
	return p.late && p.end.isOfNothing() && now.Before(p.deadline.Add(lateFor))
}

// concludeLate replaces an end of which nothing came by a successor that is healthy after all.
func (p *pursuit) concludeLate(now time.Time) {
	if f := p.judge(now); f.aftermath == controllers.AftermathHealed {
		p.end, p.noted, p.noteAt, p.noting = &f, false, time.Time{}, patience()
	}
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
