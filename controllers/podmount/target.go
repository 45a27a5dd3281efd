package podmount

import (
	"strings"

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
	for _, statuses := range [][]corev1.ContainerStatus{
		pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses,
	} {
		for _, s := range statuses {
			if _, id, ok := strings.Cut(s.ContainerID, "://"); ok && s.State.Running != nil {
				ids[s.Name] = id
			}
		}
	}
	return ids
}
