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

// maxMessage bounds the condition's message, in bytes.
const maxMessage = 1024

// reasonHealthy is the condition's reason when it is True; else the reason is the cause.
const reasonHealthy = "MountsHealthy"

// ConditionWriter sets one condition of a pod. It must not set it for another UID of the same name.
type ConditionWriter interface {
	WriteCondition(ctx context.Context, pod *corev1.Pod, c corev1.PodCondition) error
}

// mark brings the pod's condition in line with what is believed of its mounts. It is a report and no act: it is written in
// mode Report and in a dry run too. Only a change is written, so that an agent that starts again writes nothing. A
// failure loses nothing: the next look finds the same difference.
func (r *Reconciler) mark(ctx context.Context, t *tracked, pod *corev1.Pod, s verdict.State) {
	want, known := conditionOf(s)
	current := t.condition(pod)
	if !known || sameCondition(current, want) {
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
		t.written = &want
		return
	}
	err := r.Conditions.WriteCondition(ctx, pod, want)
	if err == nil {
		t.written = &want
	} else if !t.unwritten { // once a row
		ctrl.LoggerFrom(ctx).Info("Condition not written", controllers.KeyPodUID, pod.UID, controllers.KeyDetail, err.Error())
	}
	t.unwritten = err != nil
}

// conditionOf returns what the pod's condition should say. It is not known while no mount has failed and one is suspect, or
// was never seen healthy or broken: then what the condition says stays. Neither does a mount that is out of sight change it.
func conditionOf(s verdict.State) (c corev1.PodCondition, known bool) {
	c = corev1.PodCondition{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionTrue, Reason: reasonHealthy}
	if failures := s.Failures(); len(failures) > 0 {
		c.Status, c.Reason = corev1.ConditionFalse, string(failures[0].Observation.Cause)
		c.Message = text.Cut(failures[0].Describe(), maxMessage)
		return c, true
	}
	for _, m := range s {
		if m.Phase != verdict.Healthy {
			return c, false
		}
	}
	return c, len(s) > 0
}

// condition returns the pod's condition as the API server has it, as far as it is known: a cache that has not shown the latest
// write is behind it. The zero value is no condition.
func (p *tracked) condition(pod *corev1.Pod) corev1.PodCondition {
	var cached corev1.PodCondition
	for _, c := range pod.Status.Conditions {
		if c.Type == controllers.ConditionMountsHealthy {
			cached = c
		}
	}
	if p.written == nil || sameCondition(cached, *p.written) {
		p.written = nil
		return cached
	}
	return *p.written
}

// healthyBefore returns for how long all mounts were healthy before one failed at that time. The condition tells, since it outlives the agent;
// one that does not is no sign of health.
func (p *tracked) healthyBefore(failed time.Time) time.Duration {
	if p.healthySince.IsZero() {
		return 0
	}
	return max(0, failed.Sub(p.healthySince))
}

// sameCondition reports whether two conditions tell of the same cause at the same mount. How many looks found it changes with each.
func sameCondition(a, b corev1.PodCondition) bool {
	return a.Status == b.Status && a.Reason == b.Reason && place(a) == place(b)
}

// place returns the part of a condition's message that says which mount it is about (verdict.Place).
func place(c corev1.PodCondition) string {
	before, _, _ := strings.Cut(c.Message, "): ")
	return before
}
