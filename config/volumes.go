package config

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/probes"
)

// volume is what is known of one of a pod's volumes.
type volume struct {
	name     string
	local    bool // the kubelet itself fills it on the node's own disk or memory: no daemon, server or device can go away behind it
	emptyDir bool
	readOnly bool // the pod asks for a file system that takes no writes
	host     probes.HostVolume

	// by annotation
	watched   bool
	belowOnly bool // its own place is the node's disk; a container may have mounted something in it
	canary    probes.Canary
	expected  []probes.Expected
}

func volumesOf(pod *corev1.Pod) []volume {
	var all []volume
	for _, v := range pod.Spec.Volumes {
		s := v.VolumeSource
		all = append(all, volume{name: v.Name, local: local(s), emptyDir: s.EmptyDir != nil, readOnly: readOnly(s), host: hostVolume(v)})
	}
	return all
}

func names(volumes []volume) (all []string) {
	for _, v := range volumes {
		all = append(all, v.name)
	}
	return all
}

func usualNames(volumes []volume) (usual []string) {
	for _, v := range volumes {
		if !v.local {
			usual = append(usual, v.name)
		}
	}
	return usual
}

// mount returns what is watched where a container mounts the volume.
func (v volume) mount(m corev1.VolumeMount, at string) probes.Mount {
	host := v.host
	if host.Path != "" {
		host.Path = path.Join(host.Path, m.SubPath)
	}
	return probes.Mount{
		Volume: v.name, Path: at, ReadOnly: v.readOnly || m.ReadOnly, BelowOnly: v.belowOnly,
		Host: host, Canary: v.canary, Expected: v.expected,
	}
}

// local leaves out an emptyDir: a container may mount something in it that breaks.
func local(s corev1.VolumeSource) bool {
	return s.ConfigMap != nil || s.Secret != nil || s.Projected != nil || s.DownwardAPI != nil || s.Image != nil
}

func readOnly(s corev1.VolumeSource) bool {
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

// hostVolume says where the host has the volume. The folders are those of the kubelet's volume plugins, below the pod's
// folder "volumes" (kubernetes/pkg/kubelet/kubelet_getters.go, getPodVolumeDir).
func hostVolume(v corev1.Volume) probes.HostVolume {
	folder := func(plugin, tail string) probes.HostVolume {
		return probes.HostVolume{Folder: path.Join(plugin, v.Name, tail)}
	}
	switch {
	case v.HostPath != nil:
		return probes.HostVolume{Path: absolutePath(v.HostPath.Path)}
	case v.PersistentVolumeClaim != nil, v.Ephemeral != nil:
		return probes.HostVolume{Claim: true}
	case v.CSI != nil:
		return folder("kubernetes.io~csi", "mount")
	case v.NFS != nil:
		return folder("kubernetes.io~nfs", "")
	case v.ISCSI != nil:
		return folder("kubernetes.io~iscsi", "")
	case v.FC != nil:
		return folder("kubernetes.io~fc", "")
	case v.FlexVolume != nil:
		return folder(strings.ReplaceAll(v.FlexVolume.Driver, "/", "~"), "")
	case v.EmptyDir != nil:
		return folder("kubernetes.io~empty-dir", "")
	default:
		return probes.HostVolume{}
	}
}
