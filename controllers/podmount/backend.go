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

// maxBackendName bounds a backend's name, in bytes. A FUSE server chooses its source freely, and
// the name is stored in the agents' Leases.
const maxBackendName = 200

// nameBackends names what serves each mount. A mount that is not found any more keeps the backend
// that it had when it was found last.
func nameBackends(pod *corev1.Pod, s verdict.State, previous map[probes.Target]probes.Backend) map[probes.Target]probes.Backend {
	all := make(map[probes.Target]probes.Backend, len(s))
	for target, mount := range s {
		b := identifyBackend(findVolumeSource(pod, target.Volume), pod.UID, mount.Observation)
		if b.Kind == probes.BackendUnknown {
			b = previous[target]
		}
		all[target] = b
	}
	return all
}

func findVolumeSource(pod *corev1.Pod, name string) corev1.VolumeSource {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return corev1.VolumeSource{}
	}
	return pod.Spec.Volumes[i].VolumeSource
}

// identifyBackend names what serves a mount. The pod's spec comes first, because nobody can change
// it behind the API server's back; then the mount itself. The pod's spec does not say which driver
// serves a claim.
func identifyBackend(v corev1.VolumeSource, uid types.UID, o probes.Observation) probes.Backend {
	switch server := parseNFSServer(o); {
	case v.CSI != nil:
		return newBackend(probes.BackendCSI, v.CSI.Driver)
	case v.NFS != nil:
		return newBackend(probes.BackendNFS, strings.Trim(v.NFS.Server, "[]"))
	case server != "":
		return newBackend(probes.BackendNFS, server)
	case v.HostPath != nil:
		return newBackend(probes.BackendHost, path.Clean("/"+v.HostPath.Path))
	case v.EmptyDir != nil:
		return newBackend(probes.BackendPod, string(uid))
	case o.FSType != "" || o.Source != "":
		return newBackend(probes.BackendSource, o.FSType+":"+o.Source)
	default:
		return probes.Backend{}
	}
}

// parseNFSServer returns the server of an NFS mount, "" for any other mount. The source is
// SERVER:/PATH or, with an IPv6 address, [SERVER]:/PATH (nfs(5)). The name is without brackets, as
// in a volume's spec.
func parseNFSServer(o probes.Observation) string {
	if o.FSType != "nfs" && o.FSType != "nfs4" {
		return ""
	}
	server, _, found := strings.Cut(o.Source, ":/")
	if !found {
		return ""
	}
	return strings.Trim(server, "[]")
}

// newBackend makes a name of untrusted text, which events, logs and Leases show.
func newBackend(kind probes.BackendKind, name string) probes.Backend {
	return probes.Backend{Kind: kind, Name: text.Cut(text.Redact(text.Printable(name)), maxBackendName)}
}
