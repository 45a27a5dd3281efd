package config

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// podVolume is what is known of one of a pod's volumes.
type podVolume struct {
	name     string
	local    bool // the kubelet fills it on the node's own disk or memory; nothing behind it can go away
	emptyDir bool
	readOnly bool // the pod asks for a file system that takes no writes
	host     probes.HostVolume

	// by annotation
	watched   bool
	belowOnly bool // its own place is the node's disk; a container may have mounted something in it
	canary    probes.Canary
	expected  []probes.Expected
}

func listVolumes(pod *corev1.Pod) []podVolume {
	var all []podVolume
	for _, v := range pod.Spec.Volumes {
		s := v.VolumeSource
		all = append(all, podVolume{name: v.Name, local: isLocal(s), emptyDir: s.EmptyDir != nil, readOnly: isReadOnlyVolume(s), host: locateHostVolume(v)})
	}
	return all
}

func listVolumeNames(volumes []podVolume) (all []string) {
	for _, v := range volumes {
		all = append(all, v.name)
	}
	return all
}

// listDefaultVolumeNames lists the volumes that are watched when no annotation names any.
func listDefaultVolumeNames(volumes []podVolume) (usual []string) {
	for _, v := range volumes {
		if !v.local {
			usual = append(usual, v.name)
		}
	}
	return usual
}

// newMount returns what is watched where a container mounts the volume.
func (v podVolume) newMount(m corev1.VolumeMount, at string) probes.Mount {
	host := v.host
	if host.Path != "" {
		host.Path = path.Join(host.Path, m.SubPath)
	}
	return probes.Mount{
		Volume: v.name, Path: at, ReadOnly: v.readOnly || m.ReadOnly, BelowOnly: v.belowOnly,
		Host: host, Canary: v.canary, Expected: v.expected,
	}
}

// isLocal does not count an emptyDir: a container may mount something in it that breaks.
func isLocal(s corev1.VolumeSource) bool {
	return s.ConfigMap != nil || s.Secret != nil || s.Projected != nil || s.DownwardAPI != nil || s.Image != nil
}

func isReadOnlyVolume(s corev1.VolumeSource) bool {
	switch {
	case s.PersistentVolumeClaim != nil:
		return s.PersistentVolumeClaim.ReadOnly
	case s.CSI != nil:
		return s.CSI.ReadOnly != nil && *s.CSI.ReadOnly
	case s.NFS != nil:
		return s.NFS.ReadOnly
	case s.ISCSI != nil:
		return s.ISCSI.ReadOnly
	case s.FC != nil:
		return s.FC.ReadOnly
	case s.FlexVolume != nil:
		return s.FlexVolume.ReadOnly
	default:
		return false
	}
}

// locateHostVolume says where the host has the volume. The directories are those of the kubelet's
// volume plugins, below the pod's directory "volumes" (kubernetes/pkg/kubelet/kubelet_getters.go,
// getPodVolumeDir).
func locateHostVolume(v corev1.Volume) probes.HostVolume {
	inDir := func(plugin, tail string) probes.HostVolume {
		return probes.HostVolume{Folder: path.Join(plugin, v.Name, tail)}
	}
	switch {
	case v.HostPath != nil:
		return probes.HostVolume{Path: cleanMountPath(v.HostPath.Path)}
	case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
		return probes.HostVolume{Claim: true}
	case v.CSI != nil:
		return inDir("kubernetes.io~csi", "mount")
	case v.NFS != nil:
		return inDir("kubernetes.io~nfs", "")
	case v.ISCSI != nil:
		return inDir("kubernetes.io~iscsi", "")
	case v.FC != nil:
		return inDir("kubernetes.io~fc", "")
	case v.FlexVolume != nil:
		return inDir(strings.ReplaceAll(v.FlexVolume.Driver, "/", "~"), "")
	case v.EmptyDir != nil:
		return inDir("kubernetes.io~empty-dir", "")
	default:
		return probes.HostVolume{}
	}
}
