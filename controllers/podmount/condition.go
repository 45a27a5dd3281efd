package podmount

import (
	"context"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
)

// maxConditionMessage bounds the condition's message, in bytes.
const maxConditionMessage = 1024

// reasonHealthy is the condition's reason when it is True. Otherwise the reason is the cause.
const reasonHealthy = "MountsHealthy"

// ConditionWriter sets one condition of a pod. It must not set it for another UID of the same name.
type ConditionWriter interface {
	WriteCondition(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) error
}

// updateCondition brings the pod's condition in line with the state of its mounts. A condition is
// only a report, so it is written in mode Report and in a dry run too. Only a change is written, so
// that an agent that restarts writes nothing. A failed write needs no retry of its own: the next
// probe finds the same difference.
func (r *Reconciler) updateCondition(ctx context.Context, t *podState, pod *corev1.Pod, s verdict.State) {
	want, known := buildCondition(s)
	current := t.currentCondition(pod)
	if !known || isSameCondition(current, want) {
		return
	}
	want.LastTransitionTime = metav1.NewTime(r.Now())
	switch current.Status {
	case want.Status:
		want.LastTransitionTime = current.LastTransitionTime
	case corev1.ConditionTrue:
		t.healthySince = current.LastTransitionTime.Time
	}
	if r.Conditions == nil {
		t.writtenCondition = &want
		return
	}
	err := r.Conditions.WriteCondition(ctx, pod, want)
	if err == nil {
		t.writtenCondition = &want
	} else if !t.writeFailed { // only the first failure in a row
		ctrl.LoggerFrom(ctx).Info("Condition not written", controllers.KeyPodUID, pod.UID, controllers.KeyDetail, err.Error())
	}
	t.writeFailed = err != nil
}

// buildCondition returns what the pod's condition should say. It is not known while no mount has
// failed and one is Suspect, or was never seen healthy or broken: the condition then stays as it
// is. A mount that cannot be judged for a while does not change it either.
func buildCondition(s verdict.State) (c corev1.PodCondition, known bool) {
	c = corev1.PodCondition{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionTrue, Reason: reasonHealthy}
	if failures := s.Failures(); len(failures) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, string(failures[0].Observation.Cause)
		c.Message = text.Cut(failures[0].Describe(), maxConditionMessage)
		return c, true
	}
	for _, m := range s {
		if m.Phase != verdict.Healthy {
			return c, false
		}
	}
	return c, len(s) > 0
}

// currentCondition returns the pod's condition as the API server has it, as far as that is known:
// it is what was written last until the cache shows it. The zero value means that there is no
// condition.
func (p *podState) currentCondition(pod *corev1.Pod) corev1.PodCondition {
	var cached corev1.PodCondition
	for _, c := range pod.Status.Conditions {
		if c.Type == controllers.ConditionMountsHealthy {
			cached = c
		}
	}
	if p.writtenCondition == nil || isSameCondition(cached, *p.writtenCondition) {
		p.writtenCondition = nil
		return cached
	}
	return *p.writtenCondition
}

// healthyBefore returns for how long all mounts were healthy before one failed at the given time.
// The condition says so, because it outlives the agent. Without a condition, nothing is known.
func (p *podState) healthyBefore(failed time.Time) time.Duration {
	if p.healthySince.IsZero() {
		return 0
	}
	return max(0, failed.Sub(p.healthySince))
}

// isSameCondition reports whether two conditions name the same cause at the same mount. The rest of
// the message is not compared: the number of probes in it grows with each probe.
func isSameCondition(a, b corev1.PodCondition) bool {
	return a.Status == b.Status && a.Reason == b.Reason && cutMountText(a) == cutMountText(b)
}

// cutMountText returns the part of a condition's message that names the mount (verdict.DescribeMount).
func cutMountText(c corev1.PodCondition) string {
	before, _, _ := strings.Cut(c.Message, "): ")
	return before
}
