package remediate

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

// checkLedger asks a copy of the ledger, so that a pod that it holds costs no further call.
func (r *Remediator) checkLedger(ctx context.Context, a *attempt) *controllers.Result {
	if r.Config.DryRun {
		return nil
	}
	refusal, err := r.Ledger.Refuse(ctx, a.ask)
	return r.toLedgerResult(refusal, err)
}

// reserveRemoval takes the eviction out of the budgets.
func (r *Remediator) reserveRemoval(ctx context.Context, a *attempt) *controllers.Result {
	a.ask.Grace, a.ask.Selector = min(gracePeriodOf(a.live), maxGrace), ledger.SelectorFor(a.live)
	holds, refusal, err := r.Ledger.Reserve(ctx, a.ask)
	if err != nil {
		r.Follower.Recall() // it may have been written
	}
	a.reservedUntil = r.Now().Add(holds)
	if held := r.toLedgerResult(refusal, err); held != nil {
		return held
	}
	if now := r.Now(); !now.Before(a.reservedUntil) || now.Sub(a.probedAt) > maxProbeAge {
		r.releaseReservation(ctx, a)
		return newNotConfirmed("it took too long to reserve the removal after the last look")
	}
	return nil
}

// maxGrace is a year, in seconds. The API server allows what no time.Duration can hold.
const maxGrace = 365 * 24 * 60 * 60

// maxProbeAge is how old the last probe may be when the pod is evicted. The API server may have
// been slow meanwhile.
const maxProbeAge = 10 * time.Second

// releaseReservation gives a reservation back, or leaves that to the follower. Until then the
// reservation holds the pod's owner, and if it expired, it would count as an eviction that did not
// help.
func (r *Remediator) releaseReservation(ctx context.Context, a *attempt) {
	if r.Ledger.Release(ctx, a.Pod.UID, time.Time{}) != nil {
		r.Follower.Recall()
	}
}

// toLedgerResult turns the ledger's answer into a Result; nil means that it has nothing against the
// eviction.
func (r *Remediator) toLedgerResult(refusal *ledger.Refusal, err error) *controllers.Result {
	switch {
	case err != nil:
		return r.newReadFailure("ask the ledger of removals", err)
	case refusal != nil:
		return newHeldFor(refusal.RetryAfter, refusal.Held, refusal.Message)
	default:
		r.readOutage.endOutage()
		return nil
	}
}

// followOrRelease has an evicted pod followed. What may have been evicted is read from the ledger,
// and followed or given back. A reservation that was certainly not used is given back at once.
func (r *Remediator) followOrRelease(ctx context.Context, a *attempt, outcome controllers.Outcome) {
	switch {
	case outcome.Removed():
		r.Follower.Follow(a.ask.Entry, a.live)
	case a.mayBeRemoved:
		r.Follower.Recall()
	default:
		r.releaseReservation(ctx, a)
	}
}
