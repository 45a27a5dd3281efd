package view

import (
	"slices"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// MaxChildren is how many mounts below the volumes of one container are looked at without having been declared. The
// first ones count.
const MaxChildren = 64

// Child is a mount that is to be looked at below a volume.
type Child struct {
	Path     string // absolute, in the container
	Mount    mountinfo.Mount
	Found    bool
	Declared bool
}

// Below are the rules by which children are found.
type Below struct {
	Base     string            // where the volume is mounted in the container: absolute, clean, no symlink
	Expected []probes.Expected // declared ones
	Learnt   []string          // paths that were seen healthy
	Others   []string          // clean paths of mounts of volumes: what is there or below is not this volume's, unless Base is below, too
	Own      bool              // Base itself counts, when somebody has mounted something over the volume

	DeclaredOnly bool // nothing else is looked for
}

// Children lists the declared mounts, the learnt ones, and those that a process or a server provides and that are in
// the table now, each once.
func Children(t *mountinfo.Table, b Below) []Child {
	var all []Child
	for _, e := range b.Expected {
		path := join(b.Base, e.Path)
		m, ok := t.At(path)
		all = add(all, Child{Path: path, Mount: m, Found: ok && matchesType(m.FSType, e.FSType), Declared: true})
	}
	if b.DeclaredOnly {
		return all
	}
	declared := len(all)
	for i := range t.Mounts {
		m := &t.Mounts[i]
		if !IsRemote(m.FSType) || !b.has(m.MountPoint) || comesAndGoes(t, m) {
			continue
		}
		if top, ok := t.At(m.MountPoint); ok && IsRemote(top.FSType) && len(all)-declared < MaxChildren {
			all = add(all, Child{Path: m.MountPoint, Mount: top, Found: true})
		}
	}
	for _, path := range b.Learnt {
		if m, ok := t.At(path); b.has(path) && (ok || !onAutofs(t, path)) {
			all = add(all, Child{Path: path, Mount: m, Found: ok && (path != b.Base || IsRemote(m.FSType))})
		}
	}
	return all
}

// comesAndGoes reports whether the mount is one that nobody can count on. The kernel itself mounts the parts of a network file
// system below each other when they are used and lets them expire (fs/nfs/namespace.c, fs/smb/client/namespace.c,
// fuse_dentry_automount), and the kubelet's folders hold the mounts of other pods.
func comesAndGoes(t *mountinfo.Table, m *mountinfo.Mount) bool {
	parent, ok := t.ByID(m.Parent)
	return ok && parent.ID != m.ID && network(parent.FSType) != "" && network(parent.FSType) == network(m.FSType) || ofKubelet(m.MountPoint)
}

// network returns the name of a network file system whose parts the kernel mounts below each other, else "".
func network(fsType string) string {
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

// onAutofs reports whether path lies on an automount point: what was mounted there goes when nobody uses it, and comes
// back when somebody does (autofs(5)).
func onAutofs(t *mountinfo.Table, path string) bool {
	m, ok := t.Covering(path)
	return ok && m.FSType == "autofs"
}

// has reports whether a mount at path is one below the volume.
func (b *Below) has(path string) bool {
	rest, below := cut(path, b.Base)
	if !below || rest == "" && !b.Own {
		return false
	}
	return !slices.ContainsFunc(b.Others, func(other string) bool {
		_, above := cut(b.Base, other)
		return !above && probes.Below(path, other)
	})
}

func add(all []Child, c Child) []Child {
	if slices.ContainsFunc(all, func(known Child) bool { return known.Path == c.Path }) {
		return all
	}
	return append(all, c)
}
