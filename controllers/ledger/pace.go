package ledger

import (
	"math/rand/v2"
	"time"
)

const (
	paceShare   = 8 // a pod that has been refused for long waits longer by an eighth, at most
	slowestPace = 15 * time.Second
	longestBar  = time.Minute
	paceEnds    = time.Minute // after a refusal, or the end of a bar
)

// pace is how often an agent asks the ledger for pods that are refused. Hundreds of agents whose pods wait for one backend or budget would
// otherwise keep the API server busy, and each other from writing (docs/adr/0017).
type pace struct {
	since, last time.Time     // of the refusals
	next        time.Time     // when to read again
	wait        time.Duration // after others were faster: twice as long each time, half as long after each success
	barred      time.Time     // until when this agent changes nothing for that
}

// refused notes a refusal by the ledger as it is now: the longer that has been going on, the less often it is read.
func (p *pace) refused(now time.Time) {
	if now.Sub(p.last).Abs() > paceEnds {
		p.since = now
	}
	p.last = now
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(about(min(max(now.Sub(p.since)/paceShare, copyAge), slowestPace)))
}

// outrun notes that others were faster. What was long ago does not count.
func (p *pace) outrun(now time.Time) {
	if now.Sub(p.barred) > paceEnds {
		p.wait = 0
	}
	p.wait = min(max(2*p.wait, copyAge), longestBar)
	p.barred = now.Add(about(p.wait))
}

func (p *pace) succeeded() { p.wait /= 2 }

// isBarred reports whether nobody is to ask now, whatever is known of the ledger.
func (p *pace) isBarred(now time.Time) bool { return left(p.barred, now) > 0 }

// left returns for how long it is in vain to ask, 0 when it is not.
func (p *pace) left(now time.Time) time.Duration { return max(left(p.next, now), left(p.barred, now)) }

func left(until, now time.Time) time.Duration {
	return min(max(until.Sub(now), 0), 2*longestBar) // at most: the clock may have been set
}

// about is d, give or take a quarter, so that those who were refused together do not come back together.
func about(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
