package followup

import (
	"cmp"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// readyFor is how long a successor must be ready that no agent tells of, before it counts as healthy: on a node without an agent,
// or when it does not ask to be watched. One that does may be looked at for longer before its agent can tell.
const readyFor = time.Minute

// sight is what is kept of a pod that was seen.
type sight struct {
	ref     *corev1.ObjectReference
	owner   *corev1.ObjectReference // nil when it has no controller
	created time.Time
	ending  bool // it has a deletionTimestamp
	holders int  // finalizers
	phase   corev1.PodPhase
	ready   time.Time            // since when; zero when it is not
	starts  int32                // of its containers, beyond the first
	silent  time.Duration        // for how long it must be so while nobody tells
	mounts  *corev1.PodCondition // controllers.ConditionMountsHealthy; nil while nobody tells
	waits   string               // why it is not up, as the scheduler or the kubelet says
}

func look(pod *corev1.Pod, cfg config.Config) sight {
	s := sight{
		ref:     &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		owner:   ownerOf(pod),
		created: pod.CreationTimestamp.Time, ending: pod.DeletionTimestamp != nil, holders: len(pod.Finalizers),
		phase: pod.Status.Phase, waits: waitsFor(pod), silent: silence(pod, cfg),
	}
	for _, c := range pod.Status.ContainerStatuses {
		s.starts += c.RestartCount
	}
	for i := range pod.Status.Conditions {
		switch c := &pod.Status.Conditions[i]; {
		case c.Type == controllers.ConditionMountsHealthy:
			s.mounts = c.DeepCopy()
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue:
			s.ready = c.LastTransitionTime.Time
		}
	}
	return s
}

// silence is for how long nobody may tell of a pod that is ready and whose mounts are not healthy.
func silence(pod *corev1.Pod, cfg config.Config) time.Duration {
	p, err := config.ParsePolicy(pod, cfg)
	if err != nil || !p.Watch {
		return readyFor
	}
	unconfirmed := max(p.Hang, time.Duration(p.FailureThreshold)*p.Period) + p.Timeout
	return max(readyFor, p.InitialDelay+2*p.Period+unconfirmed)
}

func ownerOf(pod *corev1.Pod) *corev1.ObjectReference {
	c := metav1.GetControllerOfNoCopy(pod)
	if c == nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: c.APIVersion, Kind: c.Kind, Namespace: pod.Namespace, Name: c.Name, UID: c.UID}
}

// waitsFor returns the first reason why a pod is not up: it has no node, or a container waits.
func waitsFor(pod *corev1.Pod) string {
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

// health is what a pod's own status says of its success as a successor.
type health int

const (
	unclear health = iota
	broken
	proving // well, and not for long enough yet
	healthy
)

// health also returns since when, which is the zero time when the status does not tell.
func (s sight) health(now time.Time) (h health, since time.Time) {
	switch {
	case s.phase == corev1.PodSucceeded:
		return healthy, time.Time{} // a Job's: it has done what it was for
	case s.mounts != nil && s.mounts.Status == corev1.ConditionTrue:
		return healthy, s.mounts.LastTransitionTime.Time
	case s.mounts != nil && s.mounts.Status == corev1.ConditionFalse:
		return broken, s.mounts.LastTransitionTime.Time
	case s.mounts == nil && !s.ready.IsZero() && now.Sub(s.ready) >= s.silent:
		return healthy, s.ready
	default:
		return unclear, time.Time{}
	}
}
