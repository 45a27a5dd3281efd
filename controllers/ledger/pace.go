package ledger

import (
	"math/rand/v2"
	"time"
)

const (
	paceShare   = 8 // a pod that has been refused for long waits longer by an eighth, at most
	slowestPace = 15 * time.Second
	paceEnds    = time.Minute // without a refusal
)

// pace is how often an agent reads the ledger for pods that are refused: the less often, the longer that has been going on. Hundreds of
// agents whose pods wait for one backend or budget would otherwise keep the API server busy, and each other from writing.
type pace struct {
	since, last time.Time // of the refusals
	next        time.Time // when to read again
}

// refused notes a refusal by the ledger as it is now.
func (p *pace) refused(now time.Time) {
	if now.Sub(p.last).Abs() > paceEnds {
		p.since = now
	}
	p.last = now
	if p.left(now) > 0 {
		return
	}
	wait := min(max(now.Sub(p.since)/paceShare, copyAge), slowestPace)
	p.next = now.Add(wait*3/4 + rand.N(wait/2))
}

// left returns how long the ledger need not be read, 0 when it may be.
func (p *pace) left(now time.Time) time.Duration {
	return min(max(p.next.Sub(now), 0), 2*slowestPace) // at most: the clock may have been set
}
