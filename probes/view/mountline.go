package view

import (
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// MountFacts are what is known of a mount besides its line.
type MountFacts struct {
	ReadOnly    bool // the pod asked for a read-only mount
	Errors      bool // the kernel has counted errors of the file system; only where CountsErrors
	StopsWrites bool // the file system takes no writes after such errors
	IsFile      bool // a regular file is mounted, not a directory or a socket
}

// deleted is what the kernel appends to the root of a mount whose directory was deleted. A real
// path never has two slashes (dentry_path in fs/d_path.c).
const deleted = "//deleted"

// JudgeMountinfo adds to a healthy observation what the mount's line proves beyond the probe. Any
// other observation stays, except that of a deleted directory.
func JudgeMountinfo(o *probes.Observation, m *mountinfo.Mount, facts MountFacts) {
	gone := strings.HasSuffix(m.Root, deleted)
	switch {
	case gone && o.Health == probes.Unknown && o.Operation == probes.OpStatx && o.Errno == syscall.ENOENT:
		setBroken(o, probes.CauseSourceDeleted, "the mounted folder is deleted")
	case o.Health != probes.Healthy:
	case hasSuperOption(m, "shutdown"):
		setBroken(o, probes.CauseIOError, "the file system is shut down")
	// A FUSE or network file system may drop a name that it only has to look up again. A regular
	// file is usually replaced by renaming, and the old one can still be read.
	case gone && !facts.IsFile && !IsRemote(m.FSType):
		setBroken(o, probes.CauseSourceDeleted, "the mounted folder is deleted")
	case facts.ReadOnly:
	case hasSuperOption(m, "emergency_ro"):
		setBroken(o, probes.CauseReadOnly, "an error made the file system read-only")
	// From Linux 6.1 to 6.14 the line does not show it (measured). The count is stored on the disk,
	// and may be that of an earlier mount.
	case facts.Errors && facts.StopsWrites && !isReadOnly(m):
		setBroken(o, probes.CauseReadOnly, "the kernel has counted errors of the file system, after which it takes no writes")
		o.ByDesign = true
	case !isReadOnly(m) || isReadOnlyType(m.FSType):
	case facts.Errors:
		setBroken(o, probes.CauseReadOnly, "the file system is read-only, and the kernel has counted errors of it")
	default:
		setBroken(o, probes.CauseReadOnly, "the file system is read-only")
		o.ByDesign = true
	}
}

func setBroken(o *probes.Observation, cause probes.Cause, detail string) {
	o.Health, o.Cause, o.Warning, o.Detail = probes.Broken, cause, probes.WarningNone, detail
}

// MayBeReplaced reports whether the host can replace m by propagation: the mount below m receives
// the host's mounts. A dead mount then may recover without a new pod. own says that m is the one at
// the volume's mountPath, whose own bind never changes.
func MayBeReplaced(t *mountinfo.Table, m *mountinfo.Mount, own bool) bool {
	parent, ok := t.ByID(m.Parent)
	return ok && parent.ID != m.ID && isSlave(&parent) && (!own || parent.MountPoint == m.MountPoint)
}

// IsStaleRoot reports whether ESTALE from opening m is about m itself. The NFS client returns it
// for a mount's root that the server says is deleted (nfs_weak_revalidate in fs/nfs/dir.c). But on
// the way through another NFS mount it also returns it after a timeout.
func IsStaleRoot(t *mountinfo.Table, m *mountinfo.Mount) bool {
	if !isNFS(m.FSType) {
		return false
	}
	for at := *m; ; {
		parent, ok := t.ByID(at.Parent)
		if !ok || parent.ID == at.ID {
			return true
		}
		if isNFS(parent.FSType) {
			return false
		}
		at = parent
	}
}
