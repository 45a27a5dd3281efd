package followup

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// action is what events say was done.
const action = "FollowUp"

// announce tells how the removal ended: log line, counters and events, all from the same finding.
func (p *pursuit) announce(f finding) {
	if f.aftermath == controllers.AftermathPending {
		p.log.Info("Removal was reserved and never done; its reservation was given back")
		return
	}
	log := p.log
	if f.successor != nil {
		log = log.WithValues(controllers.KeySuccessor, f.successor.ref.Name)
	}
	log.Info("Removal ended: "+string(f.aftermath), controllers.KeyAftermath, f.aftermath, controllers.KeyTook, span(f.at.Sub(p.removedAt)),
		controllers.KeyCause, p.entry.Cause, controllers.KeySince, p.entry.Since)
	switch f.aftermath {
	case controllers.AftermathHealed:
		p.Meter.Took(controllers.PhaseHeal, f.at.Sub(p.removedAt))
		p.Meter.Took(controllers.PhaseTotal, f.at.Sub(p.entry.Since))
		p.event(f.successor.ref, corev1.EventTypeNormal, controllers.ReasonSuccessorHealthy, p.healed(f))
	case controllers.AftermathStillBroken:
		p.event(f.successor.ref, corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, p.stillBroken(f))
	case controllers.AftermathStuckCreating:
		p.event(f.successor.ref, corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, p.stuckCreating(f))
	case controllers.AftermathNoSuccessor:
		p.event(p.entryRef(), corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, p.noSuccessor(f))
	case controllers.AftermathStuckTerminating: // told when it was found, with the reason
	}
	p.Meter.Ended(f.aftermath)
}

func (p *pursuit) healed(f finding) string {
	how := "its mounts are healthy"
	if p.entry.WellFor > 0 {
		how = fmt.Sprintf("its mounts have been healthy for %s", time.Duration(p.entry.WellFor)*time.Second)
	}
	if f.successor.mounts == nil {
		how = fmt.Sprintf("it has been ready for %s, and no agent tells of its mounts", f.successor.silent)
		if f.successor.phase == corev1.PodSucceeded {
			how = "it has succeeded"
		}
	}
	return fmt.Sprintf("replaces pod %s (%s), and %s: it was removed %s after it failed, and healed %s after that. The remediation is over",
		p.entry.Pod, p.entry.Cause, how, span(p.removedAt.Sub(p.entry.Since)), span(f.at.Sub(p.removedAt)))
}

func (p *pursuit) stillBroken(f finding) string {
	return fmt.Sprintf("replaces pod %s (%s), and its mounts failed too, %s after that was removed: %s. If its policy says so it is removed in "+
		"turn, the later the more have failed in a row", p.entry.Pod, p.entry.Cause, span(f.at.Sub(p.removedAt)), f.successor.mounts.Message)
}

func (p *pursuit) stuckCreating(f finding) string {
	return fmt.Sprintf("replaces pod %s (%s), which was removed %s ago, and is not up: %s. See its own events; %s",
		p.entry.Pod, p.entry.Cause, span(f.at.Sub(p.removedAt)), f.successor.waits, p.keptMeanwhile())
}

func (p *pursuit) noSuccessor(f finding) string {
	return fmt.Sprintf("nothing replaces pod %s (%s), which was removed %s ago. See whether %s still wants as many pods, and may make them; %s",
		p.entry.Pod, p.entry.Cause, span(f.at.Sub(p.removedAt)), p.entry.Owner, p.keptMeanwhile())
}

// keptMeanwhile says what becomes of the owner's other pods while nothing healthy replaces the removed one.
func (p *pursuit) keptMeanwhile() string {
	return fmt.Sprintf("the other pods of %s are kept until a replacement is healthy, but for one from time to time", p.entry.Owner)
}

// stuckTerminating goes to the removed pod and its owner.
func (p *pursuit) stuckTerminating(now time.Time, why string) {
	p.log.Info("Removed pod does not end", controllers.KeyDetail, text.Redact(text.Printable(why)), controllers.KeyTook, span(now.Sub(p.removedAt)))
	const next = "The kubelet goes on trying; it is never deleted by force: that would let two pods use its volumes"
	note := fmt.Sprintf("removed %s ago (grace period %s) and still terminating: ", span(now.Sub(p.removedAt)), span(time.Duration(p.entry.Grace)*time.Second))
	p.event(p.entryRef(), corev1.EventTypeWarning, controllers.ReasonPodStuckTerminating, note+text.Cut(why, text.MaxNote-len(note)-len(next)-2)+". "+next)
}

// event goes to a pod and to its owner, if it has one.
func (p *pursuit) event(pod *corev1.ObjectReference, eventType, reason, note string) {
	note = text.Note(note)
	if p.owner == nil {
		p.Recorder.Eventf(pod, nil, eventType, reason, action, "%s", note)
		return
	}
	p.Recorder.Eventf(pod, p.owner, eventType, reason, action, "%s", note)
	p.Recorder.Eventf(p.owner, pod, eventType, reason, action, "%s", note)
}

// entryRef names the removed pod, whether it is still there or not.
func (p *pursuit) entryRef() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.entry.Namespace, Name: p.entry.Pod, UID: p.entry.PodUID}
}

// span is a duration as people read it.
func span(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
