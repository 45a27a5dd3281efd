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

// containers lists what to look at: in each chosen container, the mounts of the chosen volumes. volumeDevices
// are no mounts.
func (a *annotations) containers(pod *corev1.Pod) []probes.Container {
	running := containers(pod)
	volumes := volumesOf(pod)
	names := containerNames(running)
	inside := a.names(AnnotationContainers, names, names)
	a.choose(volumes)

	var watched []probes.Container
	for _, c := range running {
		if w := c.watch(volumes); slices.Contains(inside, c.name) && len(w.Mounts) > 0 {
			watched = append(watched, w)
		}
	}
	if len(watched) == 0 {
		a.note(errNothing)
	}
	return watched
}

// choose marks the volumes to watch, and reads what is asked of all of them and of each.
func (a *annotations) choose(volumes []volume) {
	_, named := a.values[AnnotationVolumes]
	chosen := a.names(AnnotationVolumes, usualNames(volumes), names(volumes))
	canary := probes.Canary{File: a.relativePath(AnnotationCanaryFile), Directory: a.relativePath(AnnotationCanaryDirectory)}
	expected := a.expected(volumes)
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

func (c container) watch(volumes []volume) probes.Container {
	w := probes.Container{Name: c.name}
	for _, m := range c.mounts {
		i := slices.IndexFunc(volumes, func(v volume) bool { return v.name == m.Name })
		at := absolutePath(m.MountPath)
		switch {
		case i < 0 || !volumes[i].watched:
			w.Others = append(w.Others, at)
		case !slices.ContainsFunc(w.Mounts, func(m probes.Mount) bool { return m.Path == at }): // /a and /a/ are one place
			w.Mounts = append(w.Mounts, volumes[i].mount(m, at))
		}
	}
	return w
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
