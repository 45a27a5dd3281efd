package view

import (
	"path"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Place is what the host's table tells of where a volume comes from.
type Place struct {
	Kubelets []string        // root folders of the kubelet on the host; none when the table shows no pod
	Certain  bool            // Kubelets have this very pod
	Folder   string          // where the kubelet keeps a CSI volume, and beside its mount what it knows of it; "" when not known
	Mount    mountinfo.Mount // the first with the failed mount's device; the zero value when the host has none
}

// Place finds a volume whose mount has failed in the host's table. A nil Host knows nothing. What
// is found keeps no part of the table.
func (h *Host) Place(v probes.Volume) (p Place) {
	if h == nil {
		return p
	}
	p.Kubelets = h.kubelets(v.PodUID)
	p.Certain = len(p.Kubelets) > 0
	if !p.Certain {
		p.Kubelets = h.anyKubelets()
	}
	for i := range p.Kubelets {
		p.Kubelets[i] = strings.Clone(p.Kubelets[i])
	}
	p.Folder = strings.Clone(h.csiFolder(v, p.Kubelets))
	if v.Device != "" {
		i := slices.IndexFunc(h.table.Mounts, func(m mountinfo.Mount) bool { return m.Device.String() == v.Device })
		if i >= 0 {
			p.Mount = h.table.Mounts[i].Clone()
		}
	}
	return p
}

// kubelets are the folders that hold "pods/UID", each once. One kubelet's may be seen at several places.
func (h *Host) kubelets(uid string) (all []string) {
	for _, i := range h.pods[uid] {
		all = addKubelet(all, h.table.Mounts[i].MountPoint, uid)
	}
	return all
}

// maxKubelets bounds the folders that are searched for a pod that the table does not show.
const maxKubelets = 4

// anyKubelets are the folders that hold any pods, in the order of the table. A kubelet inside a pod has pods of its own.
func (h *Host) anyKubelets() (all []string) {
	for i := range h.table.Mounts {
		point := h.table.Mounts[i].MountPoint
		eachVolume(point, func(uid, _ string) { all = addKubelet(all, point, uid) })
	}
	return all[:min(len(all), maxKubelets)]
}

func addKubelet(all []string, point, uid string) []string {
	pod, _, ok := cutVolume(point, uid)
	root := strings.TrimSuffix(pod, "/pods/"+uid)
	if !ok || root == "" || slices.Contains(all, root) {
		return all
	}
	return append(all, root)
}

const csiPlugin = "kubernetes.io~csi/"

// csiFolder returns where the kubelet keeps a CSI volume: "" of any other, and when that is not known.
func (h *Host) csiFolder(v probes.Volume, kubelets []string) string {
	switch {
	case v.Host.Claim:
		return h.claimFolder(v)
	case v.PodUID != "" && len(kubelets) > 0 && strings.HasPrefix(v.Host.Folder, csiPlugin):
		return path.Join(kubelets[0], "pods", v.PodUID, "volumes", strings.TrimSuffix(v.Host.Folder, "/mount"))
	default:
		return ""
	}
}

// claimFolder is that of a claim: where the host has the failed mount's device, else the only place of the pod where it can be.
func (h *Host) claimFolder(v probes.Volume) string {
	all := h.candidates(v.PodUID)
	i := slices.IndexFunc(all, func(m mountinfo.Mount) bool { return m.Device.String() == v.Device })
	if i < 0 && len(all) == 1 && (v.FSType == "" || v.FSType == all[0].FSType) {
		i = 0
	}
	if i < 0 {
		return ""
	}
	if _, rest, _ := cutVolume(all[i].MountPoint, v.PodUID); !strings.HasPrefix(rest, csiPlugin) {
		return ""
	}
	return path.Dir(all[i].MountPoint)
}
