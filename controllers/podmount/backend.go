package podmount

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// maxBackendName bounds a backend's name, in bytes: a FUSE server chooses its source freely, and the name stands in the
// agents' Leases.
const maxBackendName = 200

// backends names what serves each mount. A mount that is not found any more is still served by what served it when it was seen last.
func backends(pod *corev1.Pod, s verdict.State, before map[probes.Target]probes.Backend) map[probes.Target]probes.Backend {
	all := make(map[probes.Target]probes.Backend, len(s))
	for target, mount := range s {
		b := backendOf(volumeSource(pod, target.Volume), pod.UID, mount.Observation)
		if b.Kind == probes.BackendUnknown {
			b = before[target]
		}
		all[target] = b
	}
	return all
}

func volumeSource(pod *corev1.Pod, name string) corev1.VolumeSource {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return corev1.VolumeSource{}
	}
	return pod.Spec.Volumes[i].VolumeSource
}

// backendOf names what serves a mount: first by what the pod's spec says, which nobody can forge behind the API server, then by
// the mount itself. The driver of a claim is not told by the pod.
func backendOf(v corev1.VolumeSource, uid types.UID, o probes.Observation) probes.Backend {
	switch server := nfsServer(o); {
	case v.CSI != nil:
		return backend(probes.BackendCSI, v.CSI.Driver)
	case v.NFS != nil:
		return backend(probes.BackendNFS, strings.Trim(v.NFS.Server, "[]"))
	case server != "":
		return backend(probes.BackendNFS, server)
	case v.HostPath != nil:
		return backend(probes.BackendHost, path.Clean("/"+v.HostPath.Path))
	case v.EmptyDir != nil:
		return backend(probes.BackendPod, string(uid))
	case o.FSType != "" || o.Source != "":
		return backend(probes.BackendSource, o.FSType+":"+o.Source)
	default:
		return probes.Backend{}
	}
}

// nfsServer returns the server of an NFS mount, whose source is SERVER:/PATH or, with an IPv6 address, [SERVER]:/PATH; "" of any
// other. Its name is the one that a volume's spec has: without brackets.
func nfsServer(o probes.Observation) string {
	if o.FSType != "nfs" && o.FSType != "nfs4" {
		return ""
	}
	server, _, found := strings.Cut(o.Source, ":/")
	if !found {
		return ""
	}
	return strings.Trim(server, "[]")
}

// backend makes a name of untrusted text, which events, logs and Leases will show.
func backend(kind probes.BackendKind, name string) probes.Backend {
	return probes.Backend{Kind: kind, Name: text.Cut(text.Redact(text.Printable(name)), maxBackendName)}
}
