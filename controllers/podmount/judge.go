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

// round is one round of looks at a pod.
type round struct {
	pod          *corev1.Pod
	policy       config.Policy
	look         probes.Pod     // what the prober was asked
	trigger      probes.Trigger // what called for it
	observations []probes.Observation
}

// judge turns a round of looks into a verdict, reports what changed and acts if that was decided. It returns when
// to look again.
func (r *Reconciler) judge(ctx context.Context, t *tracked, looks round) time.Duration {
	for _, o := range looks.observations {
		r.Meter.Observed(o)
		logLook(ctx, looks.pod, o)
	}
	state, v := verdict.Step(t.snapshot(), looks.observations, rules(looks.policy), r.Now())
	t.update(looks.pod, looks.policy.Mode, state, r.Now())
	r.report(ctx, looks, v.Transitions)
	r.mark(ctx, t, looks.pod, state)
	if !v.Failed {
		t.clear()
	}
	if again := r.remediate(ctx, t, looks, v.Decision); again > 0 {
		return min(again, v.Next)
	}
	return v.Next
}

// remediate asks for the removal of the pod if that was decided. It returns in how long to ask again; 0 is at the next look.
func (r *Reconciler) remediate(ctx context.Context, t *tracked, looks round, decision verdict.Decision) time.Duration {
	if !decision.Remediate || t.done { // done: already removed, and the cache is behind
		return 0
	}
	reason, _ := decision.Reason()
	if left := t.retry.left(reason.Observation.Target, r.Now()); left > 0 {
		return left
	}
	request := controllers.Request{
		Pod: looks.pod, Policy: looks.policy, Decision: decision, State: t.snapshot(), Rules: rules(looks.policy),
		Look: looks.look, Volume: t.volume(looks.look, reason.Observation),
		Others: t.others(looks.look, reason.Observation.Target), Mounts: r.Statuses(), Healthy: t.healthyBefore(reason.Since), BlockedSince: t.blockedSince,
	}
	result := r.Remediator.Remediate(ctx, request)
	r.account(ctx, t, request, result)
	t.retry = retry{reason.Observation.Target, r.Now().Add(result.RetryAfter)}
	return result.RetryAfter
}

// retry says when the removal for a mount's sake may be asked for again.
type retry struct {
	target probes.Target
	at     time.Time
}

// left returns how long it is too early to ask for this mount's sake. What was answered for one mount says nothing about another.
func (r retry) left(target probes.Target, now time.Time) time.Duration {
	if r.target != target {
		return 0
	}
	return r.at.Sub(now)
}

// volume returns what is known of the volume whose mount an observation is of.
func (p *tracked) volume(look probes.Pod, o probes.Observation) probes.Volume {
	p.mu.Lock()
	defer p.mu.Unlock()
	return probes.Volume{
		Backend: p.backends[o.Target], PodUID: look.UID, Cause: o.Cause, Host: hostOf(look, o.Target),
		FSType: o.FSType, Source: o.Source, Device: o.Device,
	}
}

// others returns the volumes of the broken mounts but one's. The pod's successor needs them all.
func (p *tracked) others(look probes.Pod, reason probes.Target) (all []probes.Volume) {
	for target, m := range p.snapshot() {
		if target != reason && (m.Phase == verdict.Suspect || m.Phase == verdict.Failed) {
			all = append(all, p.volume(look, m.Observation))
		}
	}
	slices.SortFunc(all, func(a, b probes.Volume) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), strings.Compare(a.Device, b.Device))
	})
	return all
}

// hostOf returns where the host has the volume of a mount, which may lie below the volume's own.
func hostOf(look probes.Pod, target probes.Target) probes.HostVolume {
	var nearest probes.Mount
	for _, c := range look.Containers {
		for _, m := range c.Mounts {
			inside := c.Name == target.Container && m.Volume == target.Volume && probes.Below(target.Path, m.Path)
			if inside && strings.HasPrefix(m.Path, nearest.Path) {
				nearest = m
			}
		}
	}
	return nearest.Host
}

func rules(p config.Policy) verdict.Rules {
	return verdict.Rules{FailureThreshold: p.FailureThreshold, Hang: p.Hang, Settle: p.Settle, Period: p.Period}
}
