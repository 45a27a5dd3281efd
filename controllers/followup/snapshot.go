package followup

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// readyPeriod is how long a replacement must be ready before it counts as healthy when no agent
// reports its mounts: on a node without an agent, or when it does not ask to be watched. One that
// does may take longer, until its agent can report.
const readyPeriod = time.Minute

// podSnapshot is what is kept of a pod that was seen.
type podSnapshot struct {
	ref             *corev1.ObjectReference
	owner           *corev1.ObjectReference // nil if it has no controller
	created         time.Time
	terminating     bool // it has a deletionTimestamp
	finalizers      int  // how many
	phase           corev1.PodPhase
	readySince      time.Time            // since when; zero while it is not
	restarts        int32                // of all its containers
	maxSilence      time.Duration        // how long it must be ready while no agent reports its mounts
	mountsCondition *corev1.PodCondition // controllers.ConditionMountsHealthy; nil while no agent reports it
	waitReason      string               // why it is not up, as the scheduler or the kubelet says
}

func snapshotPod(pod *corev1.Pod, cfg config.Config) podSnapshot {
	s := podSnapshot{
		ref:     &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		owner:   controllerRef(pod),
		created: pod.CreationTimestamp.Time, terminating: pod.DeletionTimestamp != nil, finalizers: len(pod.Finalizers),
		phase: pod.Status.Phase, waitReason: describeWaiting(pod), maxSilence: computeMaxSilence(pod, cfg),
	}
	for _, c := range pod.Status.ContainerStatuses {
		s.restarts += c.RestartCount
	}
	for i := range pod.Status.Conditions {
		switch c := &pod.Status.Conditions[i]; {
		case c.Type == controllers.ConditionMountsHealthy:
			s.mountsCondition = c.DeepCopy()
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			s.readySince = c.LastTransitionTime.Time
		}
	}
	return s
}

// computeMaxSilence returns how long a pod may be ready without a report of its agent although its
// mounts are not healthy.
func computeMaxSilence(pod *corev1.Pod, cfg config.Config) time.Duration {
	p, err := config.ParsePolicy(pod, cfg)
	if err != nil || !p.Watch {
		return readyPeriod
	}
	unconfirmed := max(p.Hang, time.Duration(p.FailureThreshold)*p.Period) + p.Timeout
	return max(readyPeriod, p.InitialDelay+2*p.Period+unconfirmed)
}

func controllerRef(pod *corev1.Pod) *corev1.ObjectReference {
	c := metav1.GetControllerOfNoCopy(pod)
	if c == nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: c.APIVersion, Kind: c.Kind, Namespace: pod.Namespace, Name: c.Name, UID: c.UID}
}

// describeWaiting returns the first reason why a pod is not up: it has no node, or a container
// waits.
func describeWaiting(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return cmp.Or(c.Reason, "it has no node") + ": " + c.Message
		}
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range list {
			if w := c.State.Waiting; w != nil && w.Reason != "" {
				return "container " + c.Name + ": " + w.Reason
			}
		}
	}
	return string(pod.Status.Phase)
}

// health is what a pod's own status says about its success as a replacement.
type health int

const (
	unclear health = iota
	broken
	proving // healthy, but not for long enough yet
	healthy
)

// assessHealth also returns since when; the zero time if the status does not say.
func (s podSnapshot) assessHealth(now time.Time) (h health, since time.Time) {
	switch {
	case s.phase == corev1.PodSucceeded:
		return healthy, time.Time{} // a Job's pod: it has done its work
	case s.mountsCondition != nil && s.mountsCondition.Status == corev1.ConditionTrue:
		return healthy, s.mountsCondition.LastTransitionTime.Time
	case s.mountsCondition != nil && s.mountsCondition.Status == corev1.ConditionFalse:
		return broken, s.mountsCondition.LastTransitionTime.Time
	case s.mountsCondition == nil && !s.readySince.IsZero() && now.Sub(s.readySince) >= s.maxSilence:
		return healthy, s.readySince
	default:
		return unclear, time.Time{}
	}
}
