package view

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
)

// FindConsumers says who uses the super block of a device, "major:minor". A nil HostTable knows
// nobody, and nobody uses the device "".
//
// A pod counts if it has a mount below its directory "volumes". What the kubelet binds for a
// subPath is in another directory, beside a mount of the whole volume.
func (h *HostTable) FindConsumers(device string) (c probes.Consumers) {
	if h == nil || device == "" {
		return c
	}
	for i := range h.table.Mounts {
		m := &h.table.Mounts[i]
		if m.Device.String() != device {
			continue
		}
		if c.Staged == "" && isStaged(m.MountPoint) {
			c.Staged = strings.Clone(m.MountPoint) // it outlives the table
		}
		forEachVolume(m.MountPoint, func(uid, _ string) {
			if !slices.Contains(c.PodUIDs, uid) {
				c.PodUIDs = append(c.PodUIDs, strings.Clone(uid))
			}
		})
	}
	return c
}

// isStaged reports whether the kubelet stages a volume of a CSI driver at the mount point:
// "…/DRIVER/HASH/globalmount", or before Kubernetes 1.24 "…/pv/NAME/globalmount"
// (makeDeviceMountPath in kubernetes/pkg/volume/csi/csi_attacher.go).
func isStaged(point string) bool {
	i := strings.LastIndex(point, csiPluginDir)
	if i < 0 {
		return false
	}
	part := strings.Split(point[i+len(csiPluginDir):], "/")
	return len(part) == 3 && part[0] != "" && part[1] != "" && part[2] == "globalmount"
}

const csiPluginDir = "/plugins/kubernetes.io/csi/"
