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

// confirmTimeout is how long the last probe waits for a hang. The call is still pending, and may
// return meanwhile.
const confirmTimeout = 3 * time.Second

// checkLastProbe refuses unless the mount is still Failed by the state machine that has judged it,
// because that judgment may be seconds old by now. It comes before the reservation, which does not
// last for as long as a pod's timeout may be, and before the gates about what may change in that
// time.
func (r *Remediator) checkLastProbe(ctx context.Context, a *attempt) *controllers.Result {
	observations := r.Node.Probe(ctx, a.Look, a.probeTimeout())
	a.probedAt = r.Now()
	i := slices.IndexFunc(observations, func(o probes.Observation) bool { return o.Target == a.reason.Target })
	if i < 0 {
		return newNotConfirmed("the last look did not find the mount")
	}
	o := observations[i]
	if waited := o.Finished.Sub(o.Started); o.Cause == probes.CauseHung && waited < a.policy.Timeout {
		return newNotConfirmed(fmt.Sprintf("the last look has no answer yet, after %s of %s", waited.Round(time.Millisecond), a.policy.Timeout))
	}
	state, _ := verdict.Step(a.State, []probes.Observation{o}, a.Rules, r.Now())
	switch mount := state[o.Target]; {
	case mount.Unseen > 0:
		return newNotConfirmed("the last look could not tell: " + clipDetail(o.Detail))
	case mount.Phase == verdict.Healthy:
		return &controllers.Result{Outcome: controllers.OutcomeHealthy, Message: "the last look found the mount healthy; the pod stays"}
	case mount.Phase != verdict.Failed:
		return newNotConfirmed("the last look found the mount " + mount.Phase.String())
	}
	return nil
}

func newNotConfirmed(message string) *controllers.Result {
	return newHeldFor(backendRetry, controllers.HeldNotConfirmed, message)
}

// probeTimeout is how long the last probe may take. The call to a mount that hangs has been pending
// for the pod's timeout already; a new call gets as much.
func (a *attempt) probeTimeout() time.Duration {
	if a.reason.Cause == probes.CauseHung {
		return min(a.policy.Timeout, confirmTimeout)
	}
	return a.policy.Timeout
}

// requiredWellFor is for how long a replacement must be healthy before it counts as success; 0
// means at its first healthy probe.
//
// If a backend is away, a new mount may answer from its cache for a while (rclone does for some 15
// s). So it takes longer than the failure took to show, and as long again as a failure of the
// replacement itself may take to be reported. A pod that asks for quicker verdicts than the
// administrator's defaults does not have its replacement believed sooner.
func requiredWellFor(f verdict.Failure, p config.Policy, d config.Defaults) time.Duration {
	if !f.Observation.Cause.Recoverable() {
		return 0
	}
	byDefault := time.Duration(d.HangSeconds+2*d.PeriodSeconds) * time.Second
	shown := max(f.Confirmed.Sub(f.Since), p.Hang+2*p.Period, byDefault)
	return min(shown+max(p.Hang, time.Duration(p.FailureThreshold)*p.Period)+p.Timeout, ledger.MaxWellFor)
}
