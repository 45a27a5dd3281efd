package followup

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// action is the action in all events of this package.
const action = "FollowUp"

// reportResult reports how the eviction ended by a log line, metrics and events, all from the same
// result.
func (t *tracker) reportResult(f followUpResult) {
	if f.aftermath == controllers.AftermathPending {
		t.log.Info("Removal was reserved and never done; its reservation was given back")
		return
	}
	log := t.log
	if f.replacement != nil {
		log = log.WithValues(controllers.KeySuccessor, f.replacement.ref.Name)
	}
	log.Info("Removal ended: "+string(f.aftermath), controllers.KeyAftermath, f.aftermath, controllers.KeyTook, formatDuration(f.at.Sub(t.removedAt)),
		controllers.KeyCause, t.entry.Cause, controllers.KeySince, t.entry.Since)
	switch f.aftermath {
	case controllers.AftermathHealed:
		t.Meter.Took(controllers.PhaseHeal, f.at.Sub(t.removedAt))
		t.Meter.Took(controllers.PhaseTotal, f.at.Sub(t.entry.Since))
		t.emitEvent(f.replacement.ref, corev1.EventTypeNormal, controllers.ReasonSuccessorHealthy, t.describeHealed(f))
	case controllers.AftermathStillBroken:
		t.emitEvent(f.replacement.ref, corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, t.describeStillBroken(f))
	case controllers.AftermathStuckCreating:
		t.emitEvent(f.replacement.ref, corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, t.describeStuckCreating(f))
	case controllers.AftermathNoSuccessor:
		t.emitEvent(t.removedPodRef(), corev1.EventTypeWarning, controllers.ReasonSuccessorUnhealthy, t.describeNoSuccessor(f))
	case controllers.AftermathStuckTerminating: // checkTermination reports it, with the reason
	}
	t.Meter.Ended(f.aftermath)
}

func (t *tracker) describeHealed(f followUpResult) string {
	how := "its mounts are healthy"
	if t.entry.WellFor > 0 {
		how = fmt.Sprintf("its mounts have been healthy for %s", time.Duration(t.entry.WellFor)*time.Second)
	}
	if f.replacement.mountsCondition == nil {
		how = fmt.Sprintf("it has been ready for %s, and no agent tells of its mounts", f.replacement.maxSilence)
		if f.replacement.phase == corev1.PodSucceeded {
			how = "it has succeeded"
		}
	}
	return fmt.Sprintf("replaces pod %s (%s), and %s: it was removed %s after it failed, and healed %s after that. The remediation is over",
		t.entry.Pod, t.entry.Cause, how, formatDuration(t.removedAt.Sub(t.entry.Since)), formatDuration(f.at.Sub(t.removedAt)))
}

func (t *tracker) describeStillBroken(f followUpResult) string {
	return fmt.Sprintf("replaces pod %s (%s), and its mounts failed too, %s after that was removed: %s. If its policy says so it is removed in "+
		"turn, the later the more have failed in a row", t.entry.Pod, t.entry.Cause, formatDuration(f.at.Sub(t.removedAt)), f.replacement.mountsCondition.Message)
}

func (t *tracker) describeStuckCreating(f followUpResult) string {
	return fmt.Sprintf("replaces pod %s (%s), which was removed %s ago, and is not up: %s. See its own events; %s",
		t.entry.Pod, t.entry.Cause, formatDuration(f.at.Sub(t.removedAt)), f.replacement.waitReason, t.describeHeldPods())
}

func (t *tracker) describeNoSuccessor(f followUpResult) string {
	return fmt.Sprintf("nothing replaces pod %s (%s), which was removed %s ago. See whether %s still wants as many pods, and may make them; %s",
		t.entry.Pod, t.entry.Cause, formatDuration(f.at.Sub(t.removedAt)), t.entry.Owner, t.describeHeldPods())
}

// describeHeldPods says what becomes of the owner's other pods while the evicted one has no healthy
// replacement.
func (t *tracker) describeHeldPods() string {
	return fmt.Sprintf("the other pods of %s are kept until a replacement is healthy, but for one from time to time", t.entry.Owner)
}

// reportStuckTerminating sends an event about the evicted pod and its owner.
func (t *tracker) reportStuckTerminating(now time.Time, why string) {
	t.log.Info("Removed pod does not end", controllers.KeyDetail, text.Redact(text.Printable(why)), controllers.KeyTook, formatDuration(now.Sub(t.removedAt)))
	const next = "The kubelet goes on trying; it is never deleted by force: that would let two pods use its volumes"
	note := fmt.Sprintf("removed %s ago (grace period %s) and still terminating: ", formatDuration(now.Sub(t.removedAt)), formatDuration(time.Duration(t.entry.Grace)*time.Second))
	t.emitEvent(t.removedPodRef(), corev1.EventTypeWarning, controllers.ReasonPodStuckTerminating, note+text.Cut(why, text.MaxNote-len(note)-len(next)-2)+". "+next)
}

// emitEvent sends an event about a pod, and about its owner if it has one.
func (t *tracker) emitEvent(pod *corev1.ObjectReference, eventType, reason, note string) {
	note = text.Note(note)
	if t.owner == nil {
		t.Recorder.Eventf(pod, nil, eventType, reason, action, "%s", note)
		return
	}
	t.Recorder.Eventf(pod, t.owner, eventType, reason, action, "%s", note)
	t.Recorder.Eventf(t.owner, pod, eventType, reason, action, "%s", note)
}

// removedPodRef names the evicted pod, whether it still exists or not.
func (t *tracker) removedPodRef() *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: t.entry.Namespace, Name: t.entry.Pod, UID: t.entry.PodUID}
}

// formatDuration formats a duration for people, to a tenth of a second.
func formatDuration(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }
