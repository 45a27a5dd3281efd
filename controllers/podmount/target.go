package podmount

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
)

// target says to the prober what to look at: the policy's mounts in the containers that run. A container that
// does not run is asked about all the same, with no id: its mounts are Unknown, not forgotten.
func target(pod *corev1.Pod, policy config.Policy) probes.Pod {
	ids := runningIDs(pod)
	containers := slices.Clone(policy.Containers)
	for i := range containers {
		containers[i].ID = ids[containers[i].Name]
	}
	return probes.Pod{UID: folderUID(pod), Namespace: pod.Namespace, Name: pod.Name, Containers: containers}
}

// folderUID returns the UID that names the pod's folder of the kubelet. Of a static pod that is the hash of its manifest,
// while the UID of its mirror is the API server's.
func folderUID(pod *corev1.Pod) string {
	if hash, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return hash
	}
	return string(pod.UID)
}

// runningIDs maps the name of each running container to its id without the runtime's scheme ("containerd://").
func runningIDs(pod *corev1.Pod) map[string]string {
	ids := map[string]string{}
	for _, s := range runningContainers(pod) {
		if _, id, ok := strings.Cut(s.ContainerID, "://"); ok {
			ids[s.Name] = id
		}
	}
	return ids
}

// lastStart returns when the youngest of the watched containers that run was started: none of the pod's mounts is
// looked at before each had its time to come up. It is the zero time when none runs.
func lastStart(pod *corev1.Pod, policy config.Policy) time.Time {
	var last time.Time
	for _, s := range runningContainers(pod) {
		watched := slices.ContainsFunc(policy.Containers, func(c probes.Container) bool { return c.Name == s.Name })
		if at := s.State.Running.StartedAt.Time; watched && at.After(last) {
			last = at
		}
	}
	return last
}

func runningContainers(pod *corev1.Pod) []corev1.ContainerStatus {
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses)
	return slices.DeleteFunc(all, func(s corev1.ContainerStatus) bool { return s.State.Running == nil })
}
