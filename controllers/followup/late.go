package followup

import (
	"time"

	"github.com/mountwarden/mountwarden/controllers"
)

const (
	// lateTime is for how long after its deadline an eviction without a healthy replacement is
	// followed. Its owner's other pods are held until there is one, for this long at most (see
	// package ledger).
	lateTime = 4 * time.Hour
	// maxLate is how many such evictions one agent follows. Each costs a watch.
	maxLate = 16
)

// mayHealLate reports whether a replacement may become healthy after the result, and nothing else
// would report it. One that is broken permanently is evicted, and followed, itself.
func (t *tracker) mayHealLate() bool {
	return t.result != nil && (t.result.isInconclusive() || t.result.aftermath == controllers.AftermathStillBroken && t.entry.Cause.Recoverable())
}

// isLate reports whether the eviction is followed for a replacement that becomes healthy late.
func (t *tracker) isLate(now time.Time) bool {
	return t.late && t.mayHealLate() && now.Before(t.deadline.Add(lateTime))
}

// replaceResult replaces the result, which is written and reported again.
func (t *tracker) replaceResult(f followUpResult) {
	t.result, t.written, t.writeAt, t.writeBackoff = &f, false, time.Time{}, newBackoff()
}

// reserveLate reports whether there is room to follow one more eviction beyond its result, and
// takes it.
func (f *Follower) reserveLate() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lateCount >= maxLate {
		return false
	}
	f.lateCount++
	return true
}

// releaseLate gives that room back.
func (t *tracker) releaseLate() {
	if !t.late {
		return
	}
	t.late = false
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lateCount--
}
