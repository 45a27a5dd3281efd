package config

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// errNothing tells those who opted in that nothing came of it.
var errNothing = fmt.Errorf("%w %s: no container mounts a volume to watch; name volumes in %s and containers in %s",
	ErrInvalid, AnnotationWatch, AnnotationVolumes, AnnotationContainers)

// container is what any kind of container has in common here.
type container struct {
	name   string
	mounts []corev1.VolumeMount
}

// targets lists the mounts to watch: of each chosen container, those of the chosen volumes. volumeDevices
// are no mounts.
func (a *annotations) targets(pod *corev1.Pod) []probes.Target {
	running := containers(pod)
	usual, volumes := volumeNames(pod)
	names := containerNames(running)
	watched := a.names(AnnotationVolumes, usual, volumes)
	inside := a.names(AnnotationContainers, names, names)

	var targets []probes.Target
	for _, c := range running {
		if slices.Contains(inside, c.name) {
			targets = append(targets, c.targets(watched)...)
		}
	}
	if len(targets) == 0 {
		a.note(errNothing)
	}
	return targets
}

func (c container) targets(volumes []string) []probes.Target {
	var targets []probes.Target
	for _, m := range c.mounts {
		t := probes.Target{Container: c.name, Volume: m.Name, Path: absolutePath(m.MountPath)}
		if slices.Contains(volumes, m.Name) && !slices.Contains(targets, t) { // /a and /a/ are one place
			targets = append(targets, t)
		}
	}
	return targets
}

// absolutePath does as the kubelet and the runtime do: the API accepts a mountPath that is relative or ends in a
// slash, and both mount it at the clean path from the container's root.
func absolutePath(mountPath string) string {
	return path.Clean("/" + mountPath)
}

// containers lists the containers that run as long as the pod does: the ordinary ones, the sidecars (init
// containers that always restart, KEP-753) and the ephemeral ones. Other init containers come and go before.
func containers(pod *corev1.Pod) []container {
	var all []container
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, container{c.Name, c.VolumeMounts})
		}
	}
	for _, c := range pod.Spec.Containers {
		all = append(all, container{c.Name, c.VolumeMounts})
	}
	for _, c := range pod.Spec.EphemeralContainers {
		all = append(all, container{c.Name, c.VolumeMounts})
	}
	return all
}

func containerNames(all []container) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return names
}

// volumeNames lists the volumes that are watched when none are named, and all.
func volumeNames(pod *corev1.Pod) (usual, all []string) {
	for _, v := range pod.Spec.Volumes {
		all = append(all, v.Name)
		if !local(v.VolumeSource) {
			usual = append(usual, v.Name)
		}
	}
	return usual, all
}

// local reports whether the kubelet itself fills the volume on the node's own disk or memory, so that there is no
// daemon, server or device that could go away behind it.
func local(s corev1.VolumeSource) bool {
	return s.ConfigMap != nil || s.Secret != nil || s.Projected != nil || s.DownwardAPI != nil || s.Image != nil || s.EmptyDir != nil
}
