package observer

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
)

// accepted takes a removal that the API server has answered well. It is judged when the pod is seen to end.
func (o *Observer) accepted(c call) {
	if c.grace != nil && *c.grace == 0 {
		o.violated(GraceZero, c.At, c.String(), c.User+" asked for it")
	}
	if c.UID == "" {
		o.violated(Unconditional, c.At, c.String(), c.User+" named no UID")
		c.UID = o.uidOf(c.Pod)
	}
	p, ok := o.pods[c.UID]
	if !ok || p.ending == nil {
		o.waiting = append(o.waiting, c)
		return
	}
	o.match(p, c)
}

// uidOf returns the pod of that name that was seen last; "" when none was.
func (o *Observer) uidOf(key types.NamespacedName) (last types.UID) {
	born := -1
	for uid, p := range o.pods {
		if p.name == key.String() && p.born > born {
			last, born = uid, p.born
		}
	}
	return last
}

// match brings a call and the end that it began together.
func (o *Observer) match(p *pod, c call) {
	if p.removal != nil {
		o.again(p, c)
		return
	}
	r := &removal{call: c, Node: p.ending.Spec.NodeName, Namespace: p.ending.Namespace, pod: p}
	p.removal = r
	o.removals = append(o.removals, r)
	own := o.owner(p.owner)
	o.judge(p, r, own)
	own.waiting, own.all = append(own.waiting, r), append(own.all, r)
	o.adopt(own)
}

// again judges a call for a pod that is ending already: the very same request, whose answer was lost, changes nothing.
func (o *Observer) again(p *pod, c call) {
	first := p.removal
	if c.Verb != first.Verb || c.User != first.User {
		o.violated(Twice, c.At, p.String(), fmt.Sprintf("%s by %s after %s by %s", c.Verb, c.User, first.Verb, first.User))
	}
	o.requests[removedAgain]++
}

// judge asks whether the pod, as it was when its end began, might be removed by that agent then.
func (o *Observer) judge(p *pod, r *removal, own *owner) {
	at := p.ending
	complain := func(rule Rule, detail string, args ...any) {
		o.violated(rule, r.At, p.String(), fmt.Sprintf(detail, args...))
	}
	if node, _ := agentNode(r.User); node != at.Spec.NodeName {
		complain(OtherNode, "it is of node %s and was removed by %s", at.Spec.NodeName, r.User)
	}
	if !isJudged(at) {
		complain(OptedOut, "its annotations are %v", at.Annotations)
	}
	switch fault := at.Annotations[AnnotationFault]; {
	case fault == FaultUnknown:
		complain(NotKnown, "no look can tell")
	case fault == "" || at.Status.Phase != corev1.PodRunning:
		complain(NotBroken, "nothing is wrong with its mount, and its phase is %s", at.Status.Phase)
	}
	if g := at.DeletionGracePeriodSeconds; g != nil && *g == 0 && r.grace != nil && *r.grace > 0 {
		complain(GraceZero, "it had no time to end")
	}
	if busy := own.busy(r, o.Limits.FollowUp); busy != nil {
		complain(OwnerBusy, "the successor of %s, which was removed %s before, did not run yet", busy.call, r.At.Sub(busy.At))
	}
	o.spend(p, r)
}

// busy returns an earlier removal of the owner whose successor was not seen to run before r.
func (own *owner) busy(r *removal, followUp time.Duration) *removal {
	for _, earlier := range own.all {
		waited := earlier.up.IsZero() && (earlier.successor == nil || !earlier.successor.gone) || earlier.up.After(r.At.Add(clockSlack))
		if earlier.At.Before(r.At) && r.At.Sub(earlier.At) < followUp && waited {
			return earlier
		}
	}
	return nil
}

// clockSlack is by how much what was seen may come later than what the audit log says.
const clockSlack = time.Second

// spend counts a removal in all windows that it is in.
func (o *Observer) spend(p *pod, r *removal) {
	for _, budget := range []struct {
		rule  Rule
		key   string
		limit int
	}{{NodeBudget, r.Node, o.Limits.Node}, {NamespaceRule, r.Namespace, o.Limits.Namespace}, {ClusterBudget, "", o.Limits.Cluster}} {
		times := o.times[budget.rule][budget.key]
		i, _ := slices.BinarySearchFunc(times, r.At, time.Time.Compare)
		times = slices.Insert(times, i, r.At)
		o.times[budget.rule][budget.key] = times
		if n := fullest(times, i, o.Limits.Window); n > budget.limit {
			o.violated(budget.rule, r.At, p.String(), fmt.Sprintf("%d removals in %s, and %d are allowed", n, o.Limits.Window, budget.limit))
		}
	}
}

// fullest returns how many of the times lie in the fullest window that the i-th is in.
func fullest(times []time.Time, i int, window time.Duration) (most int) {
	for last := i; last < len(times) && times[last].Sub(times[i]) < window; last++ {
		first := last
		for first > 0 && times[last].Sub(times[first-1]) < window {
			first--
		}
		most = max(most, last-first+1)
	}
	return most
}

// isJudged reports whether the pod has opted in, and not only to be reported.
func isJudged(p *corev1.Pod) bool {
	return p.Annotations[config.AnnotationWatch] == "true" && p.Annotations[config.AnnotationMode] != string(config.ModeReport)
}

// adopt finds the successors of removed pods: in the order in which the pods ended, the first that was made after that.
func (o *Observer) adopt(own *owner) {
	slices.SortFunc(own.waiting, func(a, b *removal) int { return a.pod.ended - b.pod.ended })
	own.waiting = slices.DeleteFunc(own.waiting, func(r *removal) bool {
		i := slices.IndexFunc(own.fresh, func(p *pod) bool { return p.born > r.pod.ended })
		if i < 0 {
			return false
		}
		r.successor, r.up = own.fresh[i], own.fresh[i].running
		own.fresh[i].follows = r
		own.fresh = slices.Delete(own.fresh, i, i+1)
		return true
	})
}

// removedAgain counts requests that removed a pod that was ending already.
const removedAgain = "removed again"
