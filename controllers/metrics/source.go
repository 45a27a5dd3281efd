package metrics

import "strings"

// sourceKind says what stands behind a file system type: "fuse", "network", "block", "memory" or "other".
func sourceKind(fsType string) string {
	switch {
	case fsType == "fuse" || strings.HasPrefix(fsType, "fuse."):
		return "fuse"
	case strings.HasPrefix(fsType, "nfs"), fsType == "cifs", fsType == "smb3", fsType == "ceph", fsType == "9p", fsType == "lustre":
		return "network"
	case fsType == "ext4", fsType == "xfs", fsType == "btrfs", fsType == "fuseblk", fsType == "squashfs":
		return "block"
	case fsType == "tmpfs", fsType == "ramfs":
		return "memory"
	default:
		return "other"
	}
}
