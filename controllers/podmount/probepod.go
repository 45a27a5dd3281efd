package podmount

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
)

// newProbePod says what the prober has to probe: the policy's mounts in the containers that run. A
// container that does not run is included without an id, so that its mounts are Unknown and not
// forgotten.
func newProbePod(pod *corev1.Pod, policy config.Policy) probes.Pod {
	ids := mapRunningIDs(pod)
	containers := slices.Clone(policy.Containers)
	for i := range containers {
		containers[i].ID = ids[containers[i].Name]
	}
	return probes.Pod{UID: podDirUID(pod), Namespace: pod.Namespace, Name: pod.Name, Containers: containers}
}

// podDirUID returns the UID that names the pod's directory of the kubelet. For a static pod that is
// the hash of its manifest, while the UID of its mirror pod is the API server's.
func podDirUID(pod *corev1.Pod) string {
	if hash, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return hash
	}
	return string(pod.UID)
}

// mapRunningIDs maps the name of each running container to its id, without the runtime's scheme
// ("containerd://").
func mapRunningIDs(pod *corev1.Pod) map[string]string {
	ids := map[string]string{}
	for _, s := range listRunningContainers(pod) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok {
			ids[s.Name] = id
		}
	}
	return ids
}

// findLastStart returns when the youngest of the watched containers that run was started, the zero
// time when none runs. No mount of the pod is probed before each of them had its initial delay.
func findLastStart(pod *corev1.Pod, policy config.Policy) time.Time {
	var last time.Time
	for _, s := range listRunningContainers(pod) {
		watched := slices.ContainsFunc(policy.Containers, func(c probes.Container) bool { return c.Name == s.Name })
		if at := s.State.Running.StartedAt.Time; watched && at.After(last) {
			last = at
		}
	}
	return last
}

func listRunningContainers(pod *corev1.Pod) []corev1.ContainerStatus {
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
	return slices.DeleteFunc(all, func(s corev1.ContainerStatus) bool { return s.State.Running == nil })
}
