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
	p := probes.Pod{UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name}
	ids := runningIDs(pod)
	index := map[string]int{}
	for _, t := range policy.Targets {
		i, ok := index[t.Container]
		if !ok {
			i = len(p.Containers)
			index[t.Container] = i
			p.Containers = append(p.Containers, probes.Container{Name: t.Container, ID: ids[t.Container]})
		}
		p.Containers[i].Mounts = append(p.Containers[i].Mounts, probes.Mount{Volume: t.Volume, Path: t.Path})
	}
	return p
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
		watched := slices.ContainsFunc(policy.Targets, func(t probes.Target) bool { return t.Container == s.Name })
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
