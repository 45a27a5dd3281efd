package config

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// errNothingToWatch says that a pod has opted in, but has nothing to watch.
var errNothingToWatch = fmt.Errorf("%w %s: no container mounts a volume to watch; name volumes in %s and containers in %s",
	ErrInvalid, AnnotationWatch, AnnotationVolumes, AnnotationContainers)

// podContainer is what containers of all kinds have in common here.
type podContainer struct {
	name   string
	mounts []corev1.VolumeMount
}

// parseContainers lists what to probe: in each chosen container, the mounts of the chosen volumes.
// volumeDevices are no mounts.
func (a *annotationParser) parseContainers(pod *corev1.Pod) []probes.Container {
	running := listContainers(pod)
	volumes := listVolumes(pod)
	names := listContainerNames(running)
	inside := a.parseNames(AnnotationContainers, names, names)
	a.chooseVolumes(volumes)

	var watched []probes.Container
	for _, c := range running {
		if w := c.chooseMounts(volumes); slices.Contains(inside, c.name) && len(w.Mounts) > 0 {
			watched = append(watched, w)
		}
	}
	if len(watched) == 0 {
		a.addProblem(errNothingToWatch)
	}
	return watched
}

// chooseVolumes marks the volumes to watch. It reads the annotations that are about all of them and
// about each.
func (a *annotationParser) chooseVolumes(volumes []podVolume) {
	_, named := a.values[AnnotationVolumes]
	chosen := a.parseNames(AnnotationVolumes, listDefaultVolumeNames(volumes), listVolumeNames(volumes))
	canary := probes.Canary{File: a.parseRelativePath(AnnotationCanaryFile), Directory: a.parseRelativePath(AnnotationCanaryDirectory)}
	expected := a.parseExpectedMounts(volumes)
	for i := range volumes {
		v := &volumes[i]
		v.watched = slices.Contains(chosen, v.name) || expected[v.name] != nil
		v.belowOnly = v.emptyDir && (!named || !slices.Contains(chosen, v.name))
		v.expected = expected[v.name]
		if !v.belowOnly {
			v.canary = canary
		}
	}
}

// chooseMounts returns the container with its mounts of the watched volumes, each path once, and
// with the paths of its other mounts.
func (c podContainer) chooseMounts(volumes []podVolume) probes.Container {
	w := probes.Container{Name: c.name}
	for _, m := range c.mounts {
		i := slices.IndexFunc(volumes, func(v podVolume) bool { return v.name == m.Name })
		at := cleanMountPath(m.MountPath)
		switch {
		case i < 0 || !volumes[i].watched:
			w.Others = append(w.Others, at)
		case !slices.ContainsFunc(w.Mounts, func(m probes.Mount) bool { return m.Path == at }): // /a and /a/ are one place
			w.Mounts = append(w.Mounts, volumes[i].newMount(m, at))
		}
	}
	return w
}

// cleanMountPath does as the kubelet and the runtime do. The API accepts a mountPath that is
// relative or ends in a slash, and both mount it at the clean path from the container's root.
func cleanMountPath(mountPath string) string {
	return path.Clean("/" + mountPath)
}

// listContainers lists the containers that run as long as the pod does: the ordinary ones, the
// sidecars (init containers that always restart, KEP-753) and the ephemeral ones. Other init
// containers have ended before.
func listContainers(pod *corev1.Pod) []podContainer {
	var all []podContainer
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, podContainer{c.Name, c.VolumeMounts})
		}
	}
	for _, c := range pod.Spec.Containers {
		all = append(all, podContainer{c.Name, c.VolumeMounts})
	}
	for _, c := range pod.Spec.EphemeralContainers {
		all = append(all, podContainer{c.Name, c.VolumeMounts})
	}
	return all
}

func listContainerNames(all []podContainer) []string {
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.name
	}
	return names
}
