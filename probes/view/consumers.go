package view

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
)

// Consumers says who uses the super block of a device, "major:minor". A nil Host and the device "" know of nobody.
//
// A pod counts by a mount below its folder "volumes". What the kubelet binds for a subPath lies in another of its folders,
// beside a mount of the whole volume.
func (h *Host) Consumers(device string) (c probes.Consumers) {
	if h == nil || device == "" {
		return c
	}
	for i := range h.table.Mounts {
		m := &h.table.Mounts[i]
		if m.Device.String() != device {
			continue
		}
		if c.Staged == "" && isStaged(m.MountPoint) {
			c.Staged = strings.Clone(m.MountPoint) // the table may be gone sooner
		}
		eachVolume(m.MountPoint, func(uid, _ string) {
			if !slices.Contains(c.PodUIDs, uid) {
				c.PodUIDs = append(c.PodUIDs, strings.Clone(uid))
			}
		})
	}
	return c
}

// isStaged reports whether the kubelet stages a volume of a CSI driver at a mount point: "…/DRIVER/HASH/globalmount" and, before
// Kubernetes 1.24, "…/pv/NAME/globalmount" (makeDeviceMountPath in kubernetes/pkg/volume/csi/csi_attacher.go).
func isStaged(point string) bool {
	i := strings.LastIndex(point, stagedBelow)
	if i < 0 {
		return false
	}
	part := strings.Split(point[i+len(stagedBelow):], "/")
	return len(part) == 3 && part[0] != "" && part[1] != "" && part[2] == "globalmount"
}

const stagedBelow = "/plugins/kubernetes.io/csi/"
