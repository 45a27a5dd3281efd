package remediate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// confirmWithin is how long a hang is waited for once more: its question is still open, and may be answered meanwhile.
const confirmWithin = 3 * time.Second

// lastProbe refuses unless the mount is still Failed by the state machine that has judged it: what that believes may be seconds old by
// now. It comes before the reservation, which does not hold for as long as a pod may have asked to wait for an answer, and before all that
// may change in that time.
func (r *Remediator) lastProbe(ctx context.Context, a *attempt) *controllers.Result {
	observations := r.Node.Probe(ctx, a.Look, a.probeTimeout())
	a.probed = r.Now()
	i := slices.IndexFunc(observations, func(o probes.Observation) bool { return o.Target == a.reason.Target })
	if i < 0 {
		return notConfirmed("the last look did not find the mount")
	}
	o := observations[i]
	if waited := o.Finished.Sub(o.Started); o.Cause == probes.CauseHung && waited < a.policy.Timeout {
		return notConfirmed(fmt.Sprintf("the last look has no answer yet, after %s of %s", waited.Round(time.Millisecond), a.policy.Timeout))
	}
	state, _ := verdict.Step(a.State, []probes.Observation{o}, a.Rules, r.Now())
	switch mount := state[o.Target]; {
	case mount.Unseen > 0:
		return notConfirmed("the last look could not tell: " + clip(o.Detail))
	case mount.Phase == verdict.Healthy:
		return &controllers.Result{Outcome: controllers.OutcomeHealthy, Message: "the last look found the mount healthy; the pod stays"}
	case mount.Phase != verdict.Failed:
		return notConfirmed("the last look found the mount " + mount.Phase.String())
	}
	return nil
}

func notConfirmed(message string) *controllers.Result {
	return heldFor(freshRetry, controllers.HeldNotConfirmed, message)
}

// probeTimeout is how long the last probe may take. The question of a mount that hangs has been open for the pod's timeout already; a new
// one is given as much.
func (a *attempt) probeTimeout() time.Duration {
	if a.reason.Cause == probes.CauseHung {
		return min(a.policy.Timeout, confirmWithin)
	}
	return a.policy.Timeout
}

// wellFor is for how long a replacement must be seen well before it counts as healthy; 0 is at its first good look. A backend that is
// away may let a new mount answer from nothing for a while (an rclone whose server is away does for some 15 s). So it takes longer
// than the failure took to show, and as long again as a failure of the replacement itself may take to be told. A pod that asks for
// quicker verdicts than the administrator's defaults does not have its replacement believed sooner.
func wellFor(f verdict.Failure, p config.Policy, d config.Defaults) time.Duration {
	if !f.Observation.Cause.Recoverable() {
		return 0
	}
	byDefault := time.Duration(d.HangSeconds+2*d.PeriodSeconds) * time.Second
	shown := max(f.Confirmed.Sub(f.Since), p.Hang+2*p.Period, byDefault)
	return min(shown+max(p.Hang, time.Duration(p.FailureThreshold)*p.Period)+p.Timeout, ledger.MaxWellFor)
}
