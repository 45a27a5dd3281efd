package node

import (
	"path"
	"strings"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

// locateSubmounts finds the mounts that are or should be below a volume.
func (p *podProbe) locateSubmounts(v *probeTarget) {
	base := v.path
	if v.found && !v.container.self {
		base = v.tableMount.MountPoint
	}
	if v.container.table == nil || v.container.err != nil {
		p.markSubmountsUnknown(v, base)
		return
	}
	rules := view.SubmountRules{
		Base: base, Expected: v.mount.Expected, Own: v.mount.BelowOnly, DeclaredOnly: v.container.self || v.isWholeHost(),
	}
	if !v.container.self {
		rules.Learnt, rules.Others = v.container.state.listSubmounts(v.mount.Volume), v.container.volumePoints
	}
	for _, found := range view.FindSubmounts(v.container.table, rules) {
		t := p.ensureSubmount(v, found.Path, found.Declared)
		if t.done {
			continue
		}
		t.tableMount, t.found = found.Mount, found.Found
		t.relPath = strings.TrimPrefix(strings.TrimPrefix(found.Path, base), "/")
	}
}

// isWholeHost reports whether the volume is the host's root. It shows every mount of the host, and
// the pod needs only those that it declares.
func (t *probeTarget) isWholeHost() bool { return t.mount.Host.Path == "/" }

// markSubmountsUnknown makes the known mounts below a volume Unknown when there is no table, so
// that they are still reported.
func (p *podProbe) markSubmountsUnknown(v *probeTarget, base string) {
	for _, e := range v.mount.Expected {
		if t := p.ensureSubmount(v, path.Join(base, e.Path), true); !t.done {
			t.markUnknown(v.container.err)
		}
	}
	for _, learnt := range v.container.state.listSubmounts(v.mount.Volume) {
		if t := p.ensureSubmount(v, learnt, false); !t.done {
			t.markUnknown(v.container.err)
		}
	}
}

// ensureSubmount returns the target of a mount below a volume, a new one if there is none.
func (p *podProbe) ensureSubmount(v *probeTarget, at string, declared bool) *probeTarget {
	for _, t := range p.submounts {
		if t.container == v.container && t.path == at {
			return t
		}
	}
	at = strings.Clone(at) // it outlives the table, in observations and in parked workers
	t := newProbeTarget(v.container, v.mount, at, p.began)
	t.volume, t.declared = v, declared
	p.submounts = append(p.submounts, t)
	return t
}

// isReported reports whether the target gives an observation. A mount below a volume that is not
// declared and was never healthy may be anything.
func (t *probeTarget) isReported() bool {
	return t.volume == nil || t.declared || t.observation.Health == probes.Healthy || t.container.state.isKnownSubmount(t.path)
}
