package metrics

import "strings"

// classifySource says what is behind a file system type: "fuse", "network", "block", "memory" or
// "other".
func classifySource(fsType string) string {
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

// boundFSType returns a known type as it is, and "other" for the rest. A FUSE server chooses the
// part after "fuse." freely, and so could make any number of series.
func boundFSType(fsType string) string {
	switch fsType {
	case "", "9p", "autofs", "btrfs", "ceph", "cifs", "ext4", "fuse", "fuse.gcsfuse", "fuse.geesefs", "fuse.glusterfs", "fuse.goofys",
		"fuse.juicefs", "fuse.mergerfs", "fuse.rclone", "fuse.s3fs", "fuse.seaweedfs", "fuse.sshfs", "fuseblk", "lustre", "nfs", "nfs4",
		"overlay", "smb3", "squashfs", "tmpfs", "virtiofs", "xfs":
		return fsType
	default:
		return "other"
	}
}
