package view

import (
	"path"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// VolumeOrigin is what the host's table says about where a volume comes from.
type VolumeOrigin struct {
	Kubelets  []string        // root directories of the kubelet on the host; none when the table shows no pod
	Certain   bool            // Kubelets have this pod
	VolumeDir string          // the kubelet's directory of a CSI volume; "" when not known
	Mount     mountinfo.Mount // the first with the failed mount's device; the zero value when the host has none
}

// LocateVolume finds a volume whose mount has failed. A nil HostTable knows nothing. The result
// keeps no part of the table.
func (h *HostTable) LocateVolume(v probes.Volume) (p VolumeOrigin) {
	if h == nil {
		return p
	}
	p.Kubelets = h.findKubelets(v.PodUID)
	p.Certain = len(p.Kubelets) > 0
	if !p.Certain {
		p.Kubelets = h.findAnyKubelets()
	}
	for i := range p.Kubelets {
		p.Kubelets[i] = strings.Clone(p.Kubelets[i])
	}
	p.VolumeDir = strings.Clone(h.findCSIDir(v, p.Kubelets))
	if v.Device != "" {
		i := slices.IndexFunc(h.table.Mounts, func(m mountinfo.Mount) bool { return m.Device.String() == v.Device })
		if i >= 0 {
			p.Mount = h.table.Mounts[i].Clone()
		}
	}
	return p
}

// findKubelets returns the directories that hold "pods/UID", each once. One kubelet's directory may
// be mounted in several places.
func (h *HostTable) findKubelets(uid string) (all []string) {
	for _, i := range h.pods[uid] {
		all = addKubelet(all, h.table.Mounts[i].MountPoint, uid)
	}
	return all
}

// maxKubelets bounds the directories that are searched for a pod that the table does not show.
const maxKubelets = 4

// findAnyKubelets returns the directories that hold any pods, in the order of the table. A kubelet
// inside a pod has pods of its own.
func (h *HostTable) findAnyKubelets() (all []string) {
	for i := range h.table.Mounts {
		point := h.table.Mounts[i].MountPoint
		forEachVolume(point, func(uid, _ string) { all = addKubelet(all, point, uid) })
	}
	return all[:min(len(all), maxKubelets)]
}

func addKubelet(all []string, point, uid string) []string {
	pod, _, ok := cutVolumePath(point, uid)
	root := strings.TrimSuffix(pod, "/pods/"+uid)
	if !ok || root == "" || slices.Contains(all, root) {
		return all
	}
	return append(all, root)
}

const csiPlugin = "kubernetes.io~csi/"

// findCSIDir returns the kubelet's directory of a CSI volume, or "" for any other volume and when
// it is not known.
func (h *HostTable) findCSIDir(v probes.Volume, kubelets []string) string {
	switch {
	case v.Host.Claim:
		return h.findClaimDir(v)
	case v.PodUID != "" && len(kubelets) > 0 && strings.HasPrefix(v.Host.Folder, csiPlugin):
		return path.Join(kubelets[0], "pods", v.PodUID, "volumes", strings.TrimSuffix(v.Host.Folder, "/mount"))
	default:
		return ""
	}
}

// findClaimDir returns the directory of a claim's volume: where the host has the failed mount's
// device, or the only place of the pod where it can be.
func (h *HostTable) findClaimDir(v probes.Volume) string {
	all := h.listCandidates(v.PodUID)
	i := slices.IndexFunc(all, func(m mountinfo.Mount) bool { return m.Device.String() == v.Device })
	if i < 0 && len(all) == 1 && (v.FSType == "" || v.FSType == all[0].FSType) {
		i = 0
	}
	if i < 0 {
		return ""
	}
	if _, rest, _ := cutVolumePath(all[i].MountPoint, v.PodUID); !strings.HasPrefix(rest, csiPlugin) {
		return ""
	}
	return path.Dir(all[i].MountPoint)
}
