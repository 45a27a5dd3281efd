package view

import (
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Traits are what is known of a mount beside its line.
type Traits struct {
	ReadOnly bool // the pod has asked for a mount that takes no writes
	Errors   bool // the kernel has counted errors of the file system; asked only where CountsErrors
	Stops    bool // and such errors as make it take no writes any more
	File     bool // a plain file is mounted, not a folder or a socket
}

// deleted is what the kernel appends to the root of a mount whose folder has no name any more. A real path never has
// two slashes (dentry_path in fs/d_path.c).
const deleted = "//deleted"

// Text makes of the good answer of a look what the mount's line proves beyond it. A bad answer is left as it is.
func Text(o *probes.Observation, m *mountinfo.Mount, t Traits) {
	gone := strings.HasSuffix(m.Root, deleted)
	switch {
	case gone && o.Health == probes.Unknown && o.Operation == probes.OpStatx && o.Errno == syscall.ENOENT:
		broken(o, probes.CauseSourceDeleted, "the mounted folder is deleted")
	case o.Health != probes.Healthy:
	case hasOption(m, "shutdown"):
		broken(o, probes.CauseIOError, "the file system is shut down")
	// A FUSE or network file system drops a name that it only has to look up anew; a plain file is usually replaced by
	// renaming, and who has the former one reads it well.
	case gone && !t.File && !IsRemote(m.FSType):
		broken(o, probes.CauseSourceDeleted, "the mounted folder is deleted")
	case t.ReadOnly:
	case hasOption(m, "emergency_ro"):
		broken(o, probes.CauseReadOnly, "an error made the file system read-only")
	// From Linux 6.1 to 6.14 the line does not tell (measured). The count is kept on the disk, and may be that of a former mount.
	case t.Errors && t.Stops && !isReadOnly(m):
		broken(o, probes.CauseReadOnly, "the kernel has counted errors of the file system, after which it takes no writes")
		o.ByDesign = true
	case !isReadOnly(m) || takesNoWrites(m.FSType):
	case t.Errors:
		broken(o, probes.CauseReadOnly, "the file system is read-only, and the kernel has counted errors of it")
	default:
		broken(o, probes.CauseReadOnly, "the file system is read-only")
		o.ByDesign = true
	}
}

func broken(o *probes.Observation, cause probes.Cause, detail string) {
	o.Health, o.Cause, o.Warning, o.Detail = probes.Broken, cause, probes.WarningNone, detail
}

// MayBeReplaced reports whether the host can replace m by propagation: the mount below it follows the host's.
// A dead mount then may come to life again without a new pod. own says that m is the one at the volume's mountPath,
// whose bind itself never follows.
func MayBeReplaced(t *mountinfo.Table, m *mountinfo.Mount, own bool) bool {
	parent, ok := t.ByID(m.Parent)
	return ok && parent.ID != m.ID && isSlave(&parent) && (!own || parent.MountPoint == m.MountPoint)
}

// IsStaleRoot reports whether ESTALE of opening m, a mount that is to be looked at, is about m itself. The client of NFS answers so for a
// mount's root that the server has said to be deleted (nfs_weak_revalidate in fs/nfs/dir.c), but on the way through another NFS it does
// so of a timeout, too.
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
