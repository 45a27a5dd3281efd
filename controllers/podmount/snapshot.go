package podmount

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
)

// statusView is what the status page shows of a pod besides the state of its mounts. podState.mu
// guards it.
type statusView struct {
	owner         string
	mode          config.Mode
	action        config.Action
	rules         verdict.Rules
	problem       string
	message       string
	heldSince     time.Time
	retryAt       time.Time
	removed       bool
	earliestProbe time.Time // no probe is made before this time
	lastProbe     time.Time
	histories     mountHistories
}

// recordPolicy keeps the policy that the pod asks for and what is wrong with it.
func (p *podState) recordPolicy(pod *corev1.Pod, policy config.Policy, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if owner := newOwnerReference(pod); owner != nil {
		p.view.owner = owner.Kind + "/" + owner.Name
	}
	p.view.mode, p.view.action, p.view.rules, p.view.problem = policy.Mode, policy.Action, newVerdictRules(policy), problem
}

// delayProbe keeps until when a probe would be too early: the pod may have just started.
func (p *podState) delayProbe(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.view.earliestProbe = until
}

// updateResult keeps the latest result of a remediation request. An accepted eviction is never
// taken back.
func (p *statusView) updateResult(result controllers.Result, changed bool, now time.Time) {
	if changed {
		p.heldSince = now
	}
	p.message, p.retryAt = result.Message, time.Time{}
	if result.RetryAfter > 0 {
		p.retryAt = now.Add(result.RetryAfter)
	}
	p.removed = p.removed || result.Outcome.Removed()
}

// Watched returns what is known of every watched pod of this node, in no order, for the status
// page. It only reads memory, and holds the lock of one pod at a time.
func (r *Reconciler) Watched() []controllers.Watched {
	pods := r.tracker.copyPods()
	all := make([]controllers.Watched, 0, len(pods))
	for key, p := range pods {
		w := p.buildWatched()
		w.Namespace, w.Pod = key.Namespace, key.Name
		all = append(all, w)
	}
	return all
}

// buildWatched copies what the lock guards. The maps in it are replaced and never changed, so that
// they are read without the lock.
func (p *podState) buildWatched() controllers.Watched {
	p.mu.Lock()
	state, histories, backends := p.state, p.view.histories, p.backends
	w := controllers.Watched{
		PodUID: p.uid, Owner: p.view.owner, Mode: p.view.mode, Action: p.view.action, Rules: p.view.rules, Problem: p.view.problem,
		Held: p.holdReason, Message: p.view.message, HeldSince: p.view.heldSince, AskAgain: p.view.retryAt, Removed: p.view.removed,
		Looked: p.view.lastProbe, NextLook: p.expectedProbe(),
	}
	p.mu.Unlock()
	w.Mounts = make([]controllers.WatchedMount, 0, len(state))
	for target, mount := range state {
		h := histories[target]
		w.Mounts = append(w.Mounts, controllers.WatchedMount{Target: target, Mount: mount, Backend: backends[target], Since: h.since, History: h.transitions})
	}
	return w
}
