package podmount

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
)

// public is what people are told of a pod besides its state. It is guarded by tracked.mu.
type public struct {
	owner     string
	mode      config.Mode
	action    config.Action
	rules     verdict.Rules
	problem   string
	message   string
	heldSince time.Time
	askAgain  time.Time
	removed   bool
	waits     time.Time // before which no look is made
	looked    time.Time
	histories histories
}

// publish notes what the pod asks for and what is wrong with that.
func (p *tracked) publish(pod *corev1.Pod, policy config.Policy, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if owner := ownerRef(pod); owner != nil {
		p.public.owner = owner.Kind + "/" + owner.Name
	}
	p.public.mode, p.public.action, p.public.rules, p.public.problem = policy.Mode, policy.Action, rules(policy), problem
}

// waits notes until when a look would be too early: the pod may have just started.
func (p *tracked) waits(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.public.waits = until
}

// answer notes what came now of asking for a removal. One that was accepted is never taken back.
func (p *public) answer(result controllers.Result, changed bool, now time.Time) {
	if changed {
		p.heldSince = now
	}
	p.message, p.askAgain = result.Message, time.Time{}
	if result.RetryAfter > 0 {
		p.askAgain = now.Add(result.RetryAfter)
	}
	p.removed = p.removed || result.Outcome.Removed()
}

// Watched returns what is known of every watched pod of this node, in no order, for people. It reads memory alone, and holds a lock for
// one pod at a time.
func (r *Reconciler) Watched() []controllers.Watched {
	tracked := r.tracker.all()
	all := make([]controllers.Watched, 0, len(tracked))
	for key, p := range tracked {
		w := p.watched()
		w.Namespace, w.Pod = key.Namespace, key.Name
		all = append(all, w)
	}
	return all
}

// watched copies what a lock protects. The maps in it are replaced and never changed, so that they are read without it.
func (p *tracked) watched() controllers.Watched {
	p.mu.Lock()
	state, histories, backends := p.state, p.public.histories, p.backends
	w := controllers.Watched{
		PodUID: p.uid, Owner: p.public.owner, Mode: p.public.mode, Action: p.public.action, Rules: p.public.rules, Problem: p.public.problem,
		Held: p.held, Message: p.public.message, HeldSince: p.public.heldSince, AskAgain: p.public.askAgain, Removed: p.public.removed,
		Looked: p.public.looked, NextLook: p.expected(),
	}
	p.mu.Unlock()
	w.Mounts = make([]controllers.WatchedMount, 0, len(state))
	for target, mount := range state {
		h := histories[target]
		w.Mounts = append(w.Mounts, controllers.WatchedMount{Target: target, Mount: mount, Backend: backends[target], Since: h.since, History: h.transitions})
	}
	return w
}
