package view

import (
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// IsFUSE reports whether a process serves the file system. The type fusectl, the control files of
// FUSE, is none.
func IsFUSE(fsType string) bool {
	return fsType == "fuse" || fsType == "fuseblk" || strings.HasPrefix(fsType, "fuse.")
}

// IsRemote reports whether the file system is a FUSE or a network file system. Its server can go
// away while the node lives.
func IsRemote(fsType string) bool {
	switch fsType {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "virtiofs", "afs", "lustre", "gpfs", "beegfs", "orangefs", "wekafs", "gfs2", "ocfs2":
		return true
	default:
		return IsFUSE(fsType)
	}
}

func isNFS(fsType string) bool { return fsType == "nfs" || fsType == "nfs4" }

// WhyNeverProbed says why a mount of the type is never probed, or "".
func WhyNeverProbed(fsType string) string {
	switch fsType {
	case "autofs":
		return "autofs is never looked at: a look may trigger the mount"
	case "devtmpfs":
		return "a device node is never looked at: its file system tells nothing of the device"
	default:
		return ""
	}
}

// isReadOnlyType reports whether no file system of the type takes writes.
func isReadOnlyType(fsType string) bool {
	switch fsType {
	case "squashfs", "erofs", "iso9660", "cramfs", "romfs":
		return true
	default:
		return false
	}
}

// matchesFSType reports whether a file system has the declared type: "fuse" stands for every
// "fuse.x".
func matchesFSType(fsType, declared string) bool {
	return declared == "" || fsType == declared || strings.HasPrefix(fsType, declared+".")
}

// isSlave reports whether m receives mounts and unmounts that the host makes below it
// (mount_namespaces(7), "master:").
func isSlave(m *mountinfo.Mount) bool {
	return strings.HasPrefix(m.Optional, "master:") || strings.Contains(m.Optional, " master:")
}
