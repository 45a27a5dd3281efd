package podmount

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// reportTransitions reports every mount that changed its phase, cannot be judged any more, or has
// another warning. A mount that was never broken and is found healthy is not reported.
func (r *Reconciler) reportTransitions(ctx context.Context, round probeRound, transitions []verdict.Transition) {
	pod := round.pod
	for _, t := range transitions {
		log := newMountLogger(ctx, pod, t)
		switch {
		case t.Lost:
			log.Info("Mount cannot be judged", controllers.KeyDetail, text.Redact(t.To.Blind))
			r.recordMountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountUnknown, "cannot be judged: "+t.To.Blind)
		case t.To.Phase == verdict.Failed && t.From.Phase != verdict.Failed:
			failure := t.To.Failure()
			r.Meter.Detected(failure, round.trigger)
			log.Info("Mount failed", controllers.KeyTrigger, round.trigger)
			r.recordMountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountUnhealthy, failure.Describe()+". "+describeNextStep(round.policy))
		case t.To.Phase == verdict.Suspect && t.From.Phase != verdict.Suspect:
			log.Info("Mount is suspect")
		case t.To.Phase == verdict.Healthy && isBroken(t.From):
			log.Info("Mount recovered")
			r.reportRecovery(pod, t)
		}
		if t.Warned {
			r.reportWarning(pod, log, t)
		}
	}
}

// describeNextStep says what happens to the pod of a failed mount.
func describeNextStep(p config.Policy) string {
	switch {
	case p.Mode != config.ModeRemediate:
		return "The pod stays: its mode is " + string(p.Mode)
	case p.Settle > 0:
		return fmt.Sprintf("The pod is removed in %s unless the mount recovers", p.Settle)
	default:
		return "The pod is removed now, unless an event RemediationHeld says why not"
	}
}

// reportWarning reports what is wrong around a mount that is healthy itself, or that it is over.
func (r *Reconciler) reportWarning(pod *corev1.Pod, log logr.Logger, t verdict.Transition) {
	warning := t.To.Observation.Warning
	if warning == probes.WarningNone {
		log.Info("Mount warning is over", controllers.KeyWarning, t.From.Observation.Warning)
		return
	}
	log.Info("Mount warning", controllers.KeyWarning, warning, controllers.KeyDetail, text.Redact(t.To.Observation.Detail))
	r.recordMountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountWarning, verdict.DescribeWarning(t.To.Observation))
}

func isBroken(m verdict.Mount) bool {
	return m.Phase == verdict.Suspect || m.Phase == verdict.Failed
}

// reportRecovery records an event for a mount that answers again. A mount that was only Suspect was
// never reported as unhealthy, so it gets no event.
func (r *Reconciler) reportRecovery(pod *corev1.Pod, t verdict.Transition) {
	if t.From.Phase != verdict.Failed {
		return
	}
	lasted := t.To.Observation.Finished.Sub(t.From.Since).Round(time.Second)
	note := fmt.Sprintf("%s: healthy again after %s of %s; the pod stays", verdict.DescribeMount(t.To.Observation), lasted, t.From.Observation.Cause)
	r.recordMountEvent(pod, t, corev1.EventTypeNormal, controllers.ReasonMountRecovered, note)
}

func newMountLogger(ctx context.Context, pod *corev1.Pod, t verdict.Transition) logr.Logger {
	o := t.To.Observation
	log := ctrl.LoggerFrom(ctx).WithValues(controllers.KeyPodUID, pod.UID, controllers.KeyContainer, t.Target.Container,
		controllers.KeyVolume, t.Target.Volume, controllers.KeyMountPath, t.Target.Path, controllers.KeyPhase, t.To.Phase.String())
	if o.Cause != probes.CauseNone {
		log = log.WithValues(controllers.KeyCause, o.Cause, controllers.KeyErrno, probes.ErrnoName(o.Errno),
			controllers.KeyOperation, o.Operation, controllers.KeySince, t.To.Since)
	}
	return log
}

// logProbe logs one observation, whatever it says, if config.logLevel asks for it.
func logProbe(ctx context.Context, pod *corev1.Pod, o probes.Observation) {
	log := ctrl.LoggerFrom(ctx).V(1)
	if !log.Enabled() { // nearly always
		return
	}
	log.Info("Looked", controllers.KeyPodUID, pod.UID, controllers.KeyContainer, o.Target.Container, controllers.KeyVolume, o.Target.Volume,
		controllers.KeyMountPath, o.Target.Path, controllers.KeyHealth, o.Health.String(), controllers.KeyCause, o.Cause, controllers.KeyWarning, o.Warning,
		controllers.KeyErrno, probes.ErrnoName(o.Errno), controllers.KeyOperation, o.Operation, controllers.KeyTook, o.Finished.Sub(o.Started).String(),
		controllers.KeyDetail, text.Redact(o.Detail))
}

// recordResult reports the result of a remediation by a counter, a log line and events, all from
// the same two values. A hold is reported when its reason changes, not at every probe.
func (r *Reconciler) recordResult(ctx context.Context, t *podState, req controllers.Request, result controllers.Result) {
	reason, _ := req.Decision.Reason()
	switch {
	// After a hold or a recovery, an earlier refusal says nothing about the budget now. To be
	// queued is neither of them.
	case result.Outcome == controllers.OutcomeHeld && !isQueued(result.Held), result.Outcome == controllers.OutcomeHealthy:
		t.blockedSince = time.Time{}
	case result.Outcome == controllers.OutcomeBlocked && t.blockedSince.IsZero():
		t.blockedSince = r.Now()
	}
	t.removed = result.Outcome.Removed()
	report := t.recordHold(result, r.Now())
	if !t.removed && !report {
		return
	}
	r.Meter.Remediated(reason.Observation.Cause, result)
	ctrl.LoggerFrom(ctx).Info("Remediation "+string(result.Outcome), controllers.KeyPodUID, req.Pod.UID,
		controllers.KeyAction, result.Action, controllers.KeyCause, reason.Observation.Cause, controllers.KeyVolume, reason.Observation.Target.Volume,
		controllers.KeySince, reason.Since, controllers.KeyLooks, reason.Looks, controllers.KeyHeld, result.Held, controllers.KeyDetail, text.Redact(result.Message))
	eventType, name := selectOutcomeEvent(result.Outcome)
	if name == "" {
		return
	}
	r.recordEvent(req.Pod, newPodReference(req.Pod, ""), eventType, name, string(result.Action)+string(result.Held), fmt.Sprintf("%s. %s", result.Message, reason.Describe()))
	if result.Held == controllers.HeldBackendStorm && !isBackendReported(req) {
		r.reportBackendUnhealthy(req.Volume.Backend, result.Message)
	}
}

// isQueued reports whether the pod was only asked to wait for others, or for another probe.
func isQueued(held controllers.Held) bool {
	switch held {
	case controllers.HeldOwnerBusy, controllers.HeldBackendStorm, controllers.HeldRateLimit, controllers.HeldNotConfirmed:
		return true
	default:
		return false
	}
}

// isBackendReported reports whether another pod of this node is already held because of the same
// backend.
func isBackendReported(req controllers.Request) bool {
	return slices.ContainsFunc(req.Mounts, func(s controllers.Status) bool {
		return s.Backend == req.Volume.Backend && s.Held == controllers.HeldBackendStorm
	})
}

// reportBackendUnhealthy records one event on the node for all pods that are held because of a
// backend. The API keeps events of a node in the namespace "default".
func (r *Reconciler) reportBackendUnhealthy(b probes.Backend, message string) {
	node := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.Config.NodeName, UID: types.UID(r.Config.NodeName)}
	r.Recorder.Eventf(node, nil, corev1.EventTypeWarning, controllers.ReasonBackendUnhealthy, "Hold", "%s",
		text.Note(fmt.Sprintf("%s is unhealthy here: %s", b, message)))
}

// selectOutcomeEvent returns the event for an outcome. The reason is "" for a pod that is gone,
// which nobody can find any more, and for a mount that has recovered, which the next probe reports.
func selectOutcomeEvent(o controllers.Outcome) (eventType, reason string) {
	switch o {
	case controllers.OutcomeEvicted, controllers.OutcomeDeleted:
		return corev1.EventTypeNormal, controllers.ReasonPodRemediated
	case controllers.OutcomeBlocked:
		return corev1.EventTypeWarning, controllers.ReasonRemediationBlocked
	case controllers.OutcomeHeld, controllers.OutcomeFailed:
		return corev1.EventTypeWarning, controllers.ReasonRemediationHeld
	default:
		return "", ""
	}
}

func (r *Reconciler) reportInvalidPolicy(ctx context.Context, pod *corev1.Pod, problem string) {
	ctrl.LoggerFrom(ctx).Info("Invalid mount policy", controllers.KeyPodUID, pod.UID, controllers.KeyDetail, problem)
	r.recordEvent(pod, newPodReference(pod, ""), corev1.EventTypeWarning, controllers.ReasonInvalidMountPolicy, "Report",
		"the pod is watched but never removed until this is mended: "+problem)
}

// recordMountEvent records an event that names the mount in the reference's fieldPath. The recorder
// aggregates events that have the same reference, reason and action, and keeps only the first note
// (getKey in k8s.io/client-go/tools/events/event_broadcaster.go). The fieldPath keeps the events of
// two mounts of one pod apart.
func (r *Reconciler) recordMountEvent(pod *corev1.Pod, t verdict.Transition, eventType, reason, note string) {
	field := fmt.Sprintf("spec.%s{%s}.volumeMounts{%s}", findContainerList(pod, t.Target.Container), t.Target.Container, t.Target.Path)
	r.recordEvent(pod, newPodReference(pod, field), eventType, reason, "Probe", note)
}

// findContainerList returns the field of the pod's spec that lists a container.
func findContainerList(pod *corev1.Pod, container string) string {
	switch {
	case slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == container }):
		return "initContainers"
	case slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == container }):
		return "ephemeralContainers"
	default:
		return "containers"
	}
}

// recordEvent records an event for the pod and for its controller, because the pod's own events are
// gone with it.
func (r *Reconciler) recordEvent(pod *corev1.Pod, regarding *corev1.ObjectReference, eventType, reason, action, message string) {
	message = text.Note(message)
	owner := newOwnerReference(pod)
	if owner == nil {
		r.Recorder.Eventf(regarding, nil, eventType, reason, action, "%s", message)
		return
	}
	var related runtime.Object = owner
	r.Recorder.Eventf(regarding, related, eventType, reason, action, "%s", message)
	r.Recorder.Eventf(owner, regarding, eventType, reason, action, "%s", message)
}

func newPodReference(pod *corev1.Pod, fieldPath string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, FieldPath: fieldPath,
	}
}

func newOwnerReference(pod *corev1.Pod) *corev1.ObjectReference {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID}
}
