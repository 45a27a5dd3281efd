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

// report tells of every mount whose phase changed. A mount that was never broken and is found healthy is no news.
func (r *Reconciler) report(ctx context.Context, looks round, transitions []verdict.Transition) {
	pod := looks.pod
	for _, t := range transitions {
		log := mountLog(ctx, pod, t)
		switch {
		case t.Lost:
			log.Info("Mount cannot be judged", controllers.KeyDetail, text.Redact(t.To.Blind))
			r.mountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountUnknown, "cannot be judged: "+t.To.Blind)
		case t.To.Phase == verdict.Failed && t.From.Phase != verdict.Failed:
			failure := t.To.Failure()
			r.Meter.Detected(failure, looks.trigger)
			log.Info("Mount failed", controllers.KeyTrigger, looks.trigger)
			r.mountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountUnhealthy, failure.Describe()+". "+nextStep(looks.policy))
		case t.To.Phase == verdict.Suspect && t.From.Phase != verdict.Suspect:
			log.Info("Mount is suspect")
		case t.To.Phase == verdict.Healthy && broken(t.From):
			log.Info("Mount recovered")
			r.recovered(pod, t)
		}
		if t.Warned {
			r.warned(pod, log, t)
		}
	}
}

// nextStep says what comes of a failed mount.
func nextStep(p config.Policy) string {
	switch {
	case p.Mode != config.ModeRemediate:
		return "The pod stays: its mode is " + string(p.Mode)
	case p.Settle > 0:
		return fmt.Sprintf("The pod is removed in %s unless the mount recovers", p.Settle)
	default:
		return "The pod is removed now, unless an event RemediationHeld says why not"
	}
}

// warned tells what is wrong around a mount that is healthy itself, or that it is over.
func (r *Reconciler) warned(pod *corev1.Pod, log logr.Logger, t verdict.Transition) {
	warning := t.To.Observation.Warning
	if warning == probes.WarningNone {
		log.Info("Mount warning is over", controllers.KeyWarning, t.From.Observation.Warning)
		return
	}
	log.Info("Mount warning", controllers.KeyWarning, warning, controllers.KeyDetail, text.Redact(t.To.Observation.Detail))
	r.mountEvent(pod, t, corev1.EventTypeWarning, controllers.ReasonMountWarning, verdict.Warn(t.To.Observation))
}

func broken(m verdict.Mount) bool {
	return m.Phase == verdict.Suspect || m.Phase == verdict.Failed
}

// recovered tells of a mount that answers again. One that was only suspect was never reported as unhealthy, so the
// event is for those alone that were.
func (r *Reconciler) recovered(pod *corev1.Pod, t verdict.Transition) {
	if t.From.Phase != verdict.Failed {
		return
	}
	lasted := t.To.Observation.Finished.Sub(t.From.Since).Round(time.Second)
	note := fmt.Sprintf("%s: healthy again after %s of %s; the pod stays", verdict.Place(t.To.Observation), lasted, t.From.Observation.Cause)
	r.mountEvent(pod, t, corev1.EventTypeNormal, controllers.ReasonMountRecovered, note)
}

func mountLog(ctx context.Context, pod *corev1.Pod, t verdict.Transition) logr.Logger {
	o := t.To.Observation
	log := ctrl.LoggerFrom(ctx).WithValues(controllers.KeyPodUID, pod.UID, controllers.KeyContainer, t.Target.Container,
		controllers.KeyVolume, t.Target.Volume, controllers.KeyMountPath, t.Target.Path, controllers.KeyPhase, t.To.Phase.String())
	if o.Cause != probes.CauseNone {
		log = log.WithValues(controllers.KeyCause, o.Cause, controllers.KeyErrno, probes.ErrnoName(o.Errno),
			controllers.KeyOperation, o.Operation, controllers.KeySince, t.To.Since)
	}
	return log
}

// logLook logs one look, whatever it has found, for who has asked for that: config.logLevel.
func logLook(ctx context.Context, pod *corev1.Pod, o probes.Observation) {
	log := ctrl.LoggerFrom(ctx).V(1)
	if !log.Enabled() { // nearly always
		return
	}
	log.Info("Looked", controllers.KeyPodUID, pod.UID, controllers.KeyContainer, o.Target.Container, controllers.KeyVolume, o.Target.Volume,
		controllers.KeyMountPath, o.Target.Path, controllers.KeyHealth, o.Health.String(), controllers.KeyCause, o.Cause, controllers.KeyWarning, o.Warning,
		controllers.KeyErrno, probes.ErrnoName(o.Errno), controllers.KeyOperation, o.Operation, controllers.KeyTook, o.Finished.Sub(o.Started).String(),
		controllers.KeyDetail, text.Redact(o.Detail))
}

// account tells what came of a remediation: counter, log line and events, all from the same two values. What is
// held is told when the reason is news, not at every look.
func (r *Reconciler) account(ctx context.Context, t *tracked, req controllers.Request, result controllers.Result) {
	reason, _ := req.Decision.Reason()
	switch {
	// A refusal of before a hold or a recovery says nothing about the budget of after. To have waited in turn is neither.
	case result.Outcome == controllers.OutcomeHeld && !inTurn(result.Held), result.Outcome == controllers.OutcomeHealthy:
		t.blockedSince = time.Time{}
	case result.Outcome == controllers.OutcomeBlocked && t.blockedSince.IsZero():
		t.blockedSince = r.Now()
	}
	t.done = result.Outcome.Removed()
	news := t.hold(result, r.Now())
	if !t.done && !news {
		return
	}
	r.Meter.Remediated(reason.Observation.Cause, result)
	ctrl.LoggerFrom(ctx).Info("Remediation "+string(result.Outcome), controllers.KeyPodUID, req.Pod.UID,
		controllers.KeyAction, result.Action, controllers.KeyCause, reason.Observation.Cause, controllers.KeyVolume, reason.Observation.Target.Volume,
		controllers.KeySince, reason.Since, controllers.KeyLooks, reason.Looks, controllers.KeyHeld, result.Held, controllers.KeyDetail, text.Redact(result.Message))
	eventType, name := outcomeEvent(result.Outcome)
	if name == "" {
		return
	}
	r.event(req.Pod, podRef(req.Pod, ""), eventType, name, string(result.Action)+string(result.Held), fmt.Sprintf("%s. %s", result.Message, reason.Describe()))
	if result.Held == controllers.HeldBackendStorm && !hasIncident(req) {
		r.incident(req.Volume.Backend, result.Message)
	}
}

// inTurn reports whether the pod was only asked to wait for others, or for another look.
func inTurn(held controllers.Held) bool {
	switch held {
	case controllers.HeldOwnerBusy, controllers.HeldBackendStorm, controllers.HeldRateLimit, controllers.HeldNotConfirmed:
		return true
	default:
		return false
	}
}

// hasIncident reports whether another pod of this node is held for the same backend's sake already.
func hasIncident(req controllers.Request) bool {
	return slices.ContainsFunc(req.Mounts, func(s controllers.Status) bool {
		return s.Backend == req.Volume.Backend && s.Held == controllers.HeldBackendStorm
	})
}

// incident tells once, on the node, what many pods are held for. The API keeps events of a node in the namespace default.
func (r *Reconciler) incident(b probes.Backend, message string) {
	node := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.Config.NodeName, UID: types.UID(r.Config.NodeName)}
	r.Recorder.Eventf(node, nil, corev1.EventTypeWarning, controllers.ReasonBackendUnhealthy, "Hold", "%s",
		text.Note(fmt.Sprintf("%s is unhealthy here: %s", b, message)))
}

// outcomeEvent returns no name for a pod that is gone, since there is nobody to tell, and none for one that has recovered, since the
// next look tells it.
func outcomeEvent(o controllers.Outcome) (eventType, reason string) {
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

func (r *Reconciler) invalidPolicy(ctx context.Context, pod *corev1.Pod, problem string) {
	ctrl.LoggerFrom(ctx).Info("Invalid mount policy", controllers.KeyPodUID, pod.UID, controllers.KeyDetail, problem)
	r.event(pod, podRef(pod, ""), corev1.EventTypeWarning, controllers.ReasonInvalidMountPolicy, "Report",
		"the pod is watched but never removed until this is mended: "+problem)
}

// mountEvent names the mount in the reference's fieldPath. The recorder takes events of equal reference, reason and
// action for repetitions of one and keeps the first note only; two mounts of one pod must not be taken so.
func (r *Reconciler) mountEvent(pod *corev1.Pod, t verdict.Transition, eventType, reason, note string) {
	field := fmt.Sprintf("spec.%s{%s}.volumeMounts{%s}", listOf(pod, t.Target.Container), t.Target.Container, t.Target.Path)
	r.event(pod, podRef(pod, field), eventType, reason, "Probe", note)
}

// listOf returns the field of the pod's spec that a container stands in.
func listOf(pod *corev1.Pod, container string) string {
	switch {
	case slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == container }):
		return "initContainers"
	case slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == container }):
		return "ephemeralContainers"
	default:
		return "containers"
	}
}

// event goes to the pod and to its controller, since the pod's own vanish with it.
func (r *Reconciler) event(pod *corev1.Pod, regarding *corev1.ObjectReference, eventType, reason, action, message string) {
	message = text.Note(message)
	owner := ownerRef(pod)
	if owner == nil {
		r.Recorder.Eventf(regarding, nil, eventType, reason, action, "%s", message)
		return
	}
	var related runtime.Object = owner
	r.Recorder.Eventf(regarding, related, eventType, reason, action, "%s", message)
	r.Recorder.Eventf(owner, regarding, eventType, reason, action, "%s", message)
}

func podRef(pod *corev1.Pod, fieldPath string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, FieldPath: fieldPath,
	}
}

func ownerRef(pod *corev1.Pod) *corev1.ObjectReference {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID}
}
