package node

import (
	"path"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

// locateBelow finds the mounts that are or should be below a volume.
func (l *look) locateBelow(v *subject) {
	base := v.path
	if v.found && !v.c.self {
		base = v.at.MountPoint
	}
	if v.c.table == nil || v.c.err != nil {
		l.blind(v, base)
		return
	}
	b := view.SubmountRules{Base: base, Expected: v.mount.Expected, Own: v.mount.BelowOnly, DeclaredOnly: v.c.self || v.isWholeHost()}
	if !v.c.self {
		b.Learnt, b.Others = v.c.memory.children(v.mount.Volume), v.c.points
	}
	for _, found := range view.FindSubmounts(v.c.table, b) {
		s := l.child(v, found.Path, found.Declared)
		if s.done {
			continue
		}
		s.at, s.found = found.Mount, found.Found
		s.rest = strings.TrimPrefix(strings.TrimPrefix(found.Path, base), "/")
	}
}

// isWholeHost reports whether the volume shows everything that the host has mounted, of which the pod needs what it declares.
func (s *subject) isWholeHost() bool { return s.mount.Host.Path == "/" }

// blind makes the known mounts below a volume Unknown, so that they are not forgotten, when there is no table.
func (l *look) blind(v *subject, base string) {
	for _, e := range v.mount.Expected {
		if s := l.child(v, path.Join(base, e.Path), true); !s.done {
			s.unknown(v.c.err)
		}
	}
	for _, learnt := range v.c.memory.children(v.mount.Volume) {
		if s := l.child(v, learnt, false); !s.done {
			s.unknown(v.c.err)
		}
	}
}

// child returns the subject of a mount below a volume.
func (l *look) child(v *subject, at string, declared bool) *subject {
	for _, s := range l.children {
		if s.c == v.c && s.path == at {
			return s
		}
	}
	at = strings.Clone(at) // it outlives the table, in observations and with parked workers
	s := newSubject(v.c, v.mount, at, l.began)
	s.volume, s.declared = v, declared
	l.children = append(l.children, s)
	return s
}

// tells reports whether the subject gives an observation. A mount below a volume that is neither declared nor was ever
// seen healthy may be anything.
func (s *subject) tells() bool {
	return s.volume == nil || s.declared || s.seen.Health == probes.Healthy || s.c.memory.knows(s.path)
}
