package view

import (
	"slices"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// MaxSubmounts is how many undeclared mounts below the volumes of one container are probed: the
// first ones.
const MaxSubmounts = 64

// Submount is a mount below a volume that is to be probed.
type Submount struct {
	Path     string // absolute, in the container
	Mount    mountinfo.Mount
	Found    bool
	Declared bool
}

// SubmountRules say which mounts below a volume are found.
type SubmountRules struct {
	Base     string            // where the volume is mounted in the container: absolute, clean, no symlink
	Expected []probes.Expected // declared ones
	Learnt   []string          // paths of mounts that were healthy before
	Others   []string          // clean mount points of the container's volumes; what is below one belongs to it
	Own      bool              // Base itself counts, if something is mounted over the volume

	DeclaredOnly bool // only declared mounts
}

// FindSubmounts returns the declared mounts, those that were healthy before, and those of FUSE and
// network file systems that are in the table now, each once.
func FindSubmounts(t *mountinfo.Table, rules SubmountRules) []Submount {
	var all []Submount
	for _, e := range rules.Expected {
		path := joinPath(rules.Base, e.Path)
		m, ok := t.At(path)
		all = addSubmount(all, Submount{Path: path, Mount: m, Found: ok && matchesFSType(m.FSType, e.FSType), Declared: true})
	}
	if rules.DeclaredOnly {
		return all
	}
	declared := len(all)
	for i := range t.Mounts {
		m := &t.Mounts[i]
		if !IsRemote(m.FSType) || !rules.includesPath(m.MountPoint) || isTransient(t, m) {
			continue
		}
		if top, ok := t.At(m.MountPoint); ok && IsRemote(top.FSType) && len(all)-declared < MaxSubmounts {
			all = addSubmount(all, Submount{Path: m.MountPoint, Mount: top, Found: true})
		}
	}
	for _, path := range rules.Learnt {
		if m, ok := t.At(path); rules.includesPath(path) && (ok || !isOnAutofs(t, path)) {
			all = addSubmount(all, Submount{Path: path, Mount: m, Found: ok && (path != rules.Base || IsRemote(m.FSType))})
		}
	}
	return all
}

// isTransient reports whether the mount may go away at any time without a fault. The kernel mounts
// the parts of a network file system below each other on access and lets them expire
// (fs/nfs/namespace.c, fs/smb/client/namespace.c, fuse_dentry_automount). And the kubelet's
// directories hold the mounts of other pods.
func isTransient(t *mountinfo.Table, m *mountinfo.Mount) bool {
	parent, ok := t.ByID(m.Parent)
	family := networkFamily(m.FSType)
	return ok && parent.ID != m.ID && family != "" && family == networkFamily(parent.FSType) || isKubeletMount(m.MountPoint)
}

// networkFamily returns the name of a network file system whose parts the kernel mounts below each
// other, or "".
func networkFamily(fsType string) string {
	switch fsType {
	case "nfs", "nfs4":
		return "nfs"
	case "cifs", "smb3":
		return "smb"
	case "afs", "virtiofs":
		return fsType
	default:
		return ""
	}
}

// isOnAutofs reports whether path lies on an automount point: what is mounted there is unmounted
// when nobody uses it, and mounted again on access (autofs(5)).
func isOnAutofs(t *mountinfo.Table, path string) bool {
	m, ok := t.Covering(path)
	return ok && m.FSType == "autofs"
}

// includesPath reports whether a mount at path counts as one below the volume.
func (r *SubmountRules) includesPath(path string) bool {
	rest, below := cutDir(path, r.Base)
	if !below || rest == "" && !r.Own {
		return false
	}
	return !slices.ContainsFunc(r.Others, func(other string) bool {
		_, above := cutDir(r.Base, other)
		return !above && probes.Below(path, other)
	})
}

func addSubmount(all []Submount, c Submount) []Submount {
	if slices.ContainsFunc(all, func(known Submount) bool { return known.Path == c.Path }) {
		return all
	}
	return append(all, c)
}
