package remediate

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

// admitted asks a copy of the ledger, so that a pod that is held by it costs no further call.
func (r *Remediator) admitted(ctx context.Context, a *attempt) *controllers.Result {
	if r.Config.DryRun {
		return nil
	}
	refusal, err := r.Ledger.Refuse(ctx, a.ask)
	return r.answer(refusal, err)
}

// reserve takes the removal out of the budgets, and looks at the mount for the last time.
func (r *Remediator) reserve(ctx context.Context, a *attempt) *controllers.Result {
	a.ask.Grace, a.ask.Selector = graceOf(a.live), ledger.SelectorFor(a.live)
	holds, refusal, err := r.Ledger.Reserve(ctx, a.ask)
	if err != nil {
		r.Follower.Recall() // it may have been noted
	}
	a.until = r.Now().Add(holds)
	if held := r.answer(refusal, err); held != nil {
		return held
	}
	held := r.lastLook(ctx, a)
	if held == nil && !r.Now().Before(a.until) {
		held = heldFor(freshRetry, controllers.HeldNotConfirmed, "it took too long to make sure once more")
	}
	if held != nil {
		r.release(ctx, a)
	}
	return held
}

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

// lookTimeout bounds the last look, which only confirms what was found with more patience.
const lookTimeout = 3 * time.Second

// lastLook refuses unless the mount is broken still. What the state machine believes may be seconds old.
func (r *Remediator) lastLook(ctx context.Context, a *attempt) *controllers.Result {
	for _, o := range r.Node.Probe(ctx, a.Look, min(a.policy.Timeout, lookTimeout)) {
		if o.Target != a.reason.Target {
			continue
		}
		switch o.Health {
		case probes.Broken:
			return nil
		case probes.Healthy:
			return &controllers.Result{Outcome: controllers.OutcomeHealthy, Message: "the last look found the mount healthy; the pod stays"}
		default:
			return heldFor(freshRetry, controllers.HeldNotConfirmed, fmt.Sprintf("the last look could not tell: %s", clip(o.Detail)))
		}
	}
	return heldFor(freshRetry, controllers.HeldNotConfirmed, "the last look did not find the mount")
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
