package podmount

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// probeRound is one probe of all the mounts of a pod.
type probeRound struct {
	pod          *corev1.Pod
	policy       config.Policy
	probePod     probes.Pod     // what the prober was asked for
	trigger      probes.Trigger // why it was made
	observations []probes.Observation
}

// judgeRound turns a probe round into a verdict, reports what changed and asks for a remediation if
// that was decided. It returns in how long to probe again.
func (r *Reconciler) judgeRound(ctx context.Context, t *podState, round probeRound) time.Duration {
	for _, o := range round.observations {
		r.Meter.Observed(o)
		logProbe(ctx, round.pod, o)
	}
	state, v := verdict.Step(t.currentState(), round.observations, newVerdictRules(round.policy), r.Now())
	t.recordRound(round.pod, round.policy.Mode, state, r.Now())
	r.reportTransitions(ctx, round, v.Transitions)
	r.updateCondition(ctx, t, round.pod, state)
	if !v.Failed {
		t.clearRemediation()
	}
	if again := r.requestRemediation(ctx, t, round, v.Decision); again > 0 {
		return min(again, v.Next)
	}
	return v.Next
}

// requestRemediation asks for the pod's eviction if that was decided. It returns in how long to ask
// again; 0 means at the next probe.
func (r *Reconciler) requestRemediation(ctx context.Context, t *podState, round probeRound, decision verdict.Decision) time.Duration {
	if !decision.Remediate || t.removed { // already evicted: the cache does not show it yet
		return 0
	}
	reason, _ := decision.Reason()
	if left := t.retry.timeLeft(reason.Observation.Target, r.Now()); left > 0 {
		return left
	}
	request := controllers.Request{
		Pod: round.pod, Policy: round.policy, Decision: decision, State: t.currentState(), Rules: newVerdictRules(round.policy),
		Look: round.probePod, Volume: t.describeVolume(round.probePod, reason.Observation),
		Others: t.listOtherBroken(round.probePod, reason.Observation.Target), Mounts: r.Statuses(), Healthy: t.healthyBefore(reason.Since), BlockedSince: t.blockedSince,
	}
	result := r.Remediator.Remediate(ctx, request)
	r.recordResult(ctx, t, request, result)
	t.retry = pendingRetry{reason.Observation.Target, r.Now().Add(result.RetryAfter)}
	return result.RetryAfter
}

// pendingRetry says when a remediation because of one mount may be requested again.
type pendingRetry struct {
	target probes.Target
	at     time.Time
}

// timeLeft returns how long to wait before a remediation may be requested because of this mount. An
// answer for one mount says nothing about another.
func (r pendingRetry) timeLeft(target probes.Target, now time.Time) time.Duration {
	if r.target != target {
		return 0
	}
	return r.at.Sub(now)
}

// describeVolume returns what is known of the volume of an observed mount.
func (p *podState) describeVolume(probePod probes.Pod, o probes.Observation) probes.Volume {
	p.mu.Lock()
	defer p.mu.Unlock()
	return probes.Volume{
		Backend: p.backends[o.Target], PodUID: probePod.UID, Cause: o.Cause, Host: findHostVolume(probePod, o.Target),
		FSType: o.FSType, Source: o.Source, Device: o.Device,
	}
}

// listOtherBroken returns the volumes of all broken mounts except the one that is the reason. The
// pod's replacement needs them all.
func (p *podState) listOtherBroken(probePod probes.Pod, reason probes.Target) (all []probes.Volume) {
	for target, m := range p.currentState() {
		if target != reason && (m.Phase == verdict.Suspect || m.Phase == verdict.Failed) {
			all = append(all, p.describeVolume(probePod, m.Observation))
		}
	}
	slices.SortFunc(all, func(a, b probes.Volume) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Device, b.Device))
	})
	return all
}

// findHostVolume returns where the host has the volume of a mount. The mount may lie below the
// volume's own; the nearest volume above it counts.
func findHostVolume(probePod probes.Pod, target probes.Target) probes.HostVolume {
	var nearest probes.Mount
	for _, c := range probePod.Containers {
		for _, m := range c.Mounts {
			inside := c.Name == target.Container && m.Volume == target.Volume && probes.Below(target.Path, m.Path)
			if inside && strings.HasPrefix(m.Path, nearest.Path) {
				nearest = m
			}
		}
	}
	return nearest.Host
}

func newVerdictRules(p config.Policy) verdict.Rules {
	return verdict.Rules{FailureThreshold: p.FailureThreshold, Hang: p.Hang, Settle: p.Settle, Period: p.Period}
}
