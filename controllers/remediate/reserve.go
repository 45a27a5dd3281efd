package remediate

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

// admitted asks a copy of the ledger, so that a pod that is held by it costs no further call.
func (r *Remediator) admitted(ctx context.Context, a *attempt) *controllers.Result {
	if r.Config.DryRun {
		return nil
	}
	refusal, err := r.Ledger.Refuse(ctx, a.ask)
	return r.answer(refusal, err)
}

// reserve takes the removal out of the budgets.
func (r *Remediator) reserve(ctx context.Context, a *attempt) *controllers.Result {
	a.ask.Grace, a.ask.Selector = min(graceOf(a.live), maxGrace), ledger.SelectorFor(a.live)
	holds, refusal, err := r.Ledger.Reserve(ctx, a.ask)
	if err != nil {
		r.Follower.Recall() // it may have been noted
	}
	a.until = r.Now().Add(holds)
	if held := r.answer(refusal, err); held != nil {
		return held
	}
	if now := r.Now(); !now.Before(a.until) || now.Sub(a.probed) > probeLasts {
		r.release(ctx, a)
		return notConfirmed("it took too long to reserve the removal after the last look")
	}
	return nil
}

// maxGrace is a year, in seconds. The API server allows what no time.Duration can hold.
const maxGrace = 365 * 24 * 60 * 60

// probeLasts is how old the last probe may be when the pod is removed. The API server may have been slow meanwhile.
const probeLasts = 10 * time.Second

// release gives a reservation back, or leaves that to the follower: until then it holds the pod's owner, and in the end would count as
// a removal in vain.
func (r *Remediator) release(ctx context.Context, a *attempt) {
	if r.Ledger.Release(ctx, a.Pod.UID, time.Time{}) != nil {
		r.Follower.Recall()
	}
}

func (r *Remediator) answer(refusal *ledger.Refusal, err error) *controllers.Result {
	switch {
	case err != nil:
		return r.failed("ask the ledger of removals", err)
	case refusal != nil:
		return heldFor(refusal.RetryAfter, refusal.Held, refusal.Message)
	default:
		r.outage.over()
		return nil
	}
}

// settle follows what was removed. What may have been is read from the ledger, and followed or given back. What was reserved and for
// certain not used is given back at once.
func (r *Remediator) settle(ctx context.Context, a *attempt, outcome controllers.Outcome) {
	switch {
	case outcome.Removed():
		r.Follower.Follow(a.ask.Entry, a.live)
	case a.unsure:
		r.Follower.Recall()
	default:
		r.release(ctx, a)
	}
}
