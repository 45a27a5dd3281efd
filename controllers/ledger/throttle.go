package ledger

import (
	"math/rand/v2"
	"time"
)

const (
	readDelayDivisor = 8 // the delay is at most this fraction of the time since the first refusal
	maxReadDelay     = 15 * time.Second
	maxBlock         = time.Minute
	throttleReset    = time.Minute // after the latest refusal, or the end of a block
)

// throttle limits how often an agent asks the ledger for pods that are refused. Hundreds of agents
// whose pods wait for one backend or budget would otherwise keep the API server busy, and keep each
// other from writing (docs/adr/0017). Refusals make reads of the ledger rarer. Contention blocks
// all asks and writes of the agent for a while.
type throttle struct {
	refusedSince, refusedLast time.Time     // the first and the latest of the refusals
	nextRead                  time.Time     // when to read the ledger again
	blockFor                  time.Duration // doubled by each contention, halved by each success
	blockedUntil              time.Time     // until when this agent changes nothing, after contention
}

// recordRefusal notes a refusal by the ledger as it is now. The longer refusals go on, the less
// often the ledger is read.
func (t *throttle) recordRefusal(now time.Time) {
	if now.Sub(t.refusedLast).Abs() > throttleReset {
		t.refusedSince = now
	}
	t.refusedLast = now
	if now.Before(t.nextRead) {
		return
	}
	t.nextRead = now.Add(addJitter(min(max(now.Sub(t.refusedSince)/readDelayDivisor, maxCopyAge), maxReadDelay)))
}

// recordContention notes that other agents wrote first at each attempt. What was long ago does not
// count.
func (t *throttle) recordContention(now time.Time) {
	if now.Sub(t.blockedUntil) > throttleReset {
		t.blockFor = 0
	}
	t.blockFor = min(max(2*t.blockFor, maxCopyAge), maxBlock)
	t.blockedUntil = now.Add(addJitter(t.blockFor))
}

func (t *throttle) recordSuccess() { t.blockFor /= 2 }

// isBlocked reports whether no pod is to ask now, whatever is known of the ledger.
func (t *throttle) isBlocked(now time.Time) bool { return remainingUntil(t.blockedUntil, now) > 0 }

// remainingWait returns how long not to ask; 0 when asking is worthwhile.
func (t *throttle) remainingWait(now time.Time) time.Duration {
	return max(remainingUntil(t.nextRead, now), remainingUntil(t.blockedUntil, now))
}

func remainingUntil(until, now time.Time) time.Duration {
	return min(max(until.Sub(now), 0), 2*maxBlock) // bounded, because the clock may have been set
}

// addJitter returns d plus or minus up to a quarter, so that agents that were refused together do
// not come back together.
func addJitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
