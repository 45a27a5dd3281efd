package view

import (
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// IsFUSE reports whether a process serves the file system. fusectl, the control files of FUSE, is none.
func IsFUSE(fsType string) bool {
	return fsType == "fuse" || fsType == "fuseblk" || strings.HasPrefix(fsType, "fuse.")
}

// IsRemote reports whether somebody else than this kernel serves the file system: a FUSE or one of a network, which
// can go away while the node lives.
func IsRemote(fsType string) bool {
	switch fsType {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "virtiofs", "afs", "lustre", "gpfs", "beegfs", "orangefs", "wekafs", "gfs2", "ocfs2":
		return true
	default:
		return IsFUSE(fsType)
	}
}

func isNFS(fsType string) bool { return fsType == "nfs" || fsType == "nfs4" }

// Untouchable says why a mount is never looked at, "" for all others.
func Untouchable(fsType string) string {
	switch fsType {
	case "autofs":
		return "autofs is never looked at: a look may trigger the mount"
	case "devtmpfs":
		return "a device node is never looked at: its file system tells nothing of the device"
	default:
		return ""
	}
}

// takesNoWrites reports whether no file system of the type takes any.
func takesNoWrites(fsType string) bool {
	switch fsType {
	case "squashfs", "erofs", "iso9660", "cramfs", "romfs":
		return true
	default:
		return false
	}
}

// matchesType reports whether a file system is of the type that was declared: "fuse" stands for every "fuse.x".
func matchesType(fsType, declared string) bool {
	return declared == "" || fsType == declared || strings.HasPrefix(fsType, declared+".")
}

// isSlave reports whether mounts that the host makes or unmounts below m follow in m.
func isSlave(m *mountinfo.Mount) bool {
	return strings.HasPrefix(m.Optional, "master:") || strings.Contains(m.Optional, " master:")
}
