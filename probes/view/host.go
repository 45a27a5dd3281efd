package view

import (
	"slices"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Host is a table of the host, in which the volumes of pods are found. A nil Host proves nothing.
type Host struct {
	table *mountinfo.Table
	pods  map[string][]int32 // by UID, the mounts below the pod's folder "volumes"
}

// NewHost returns nil for a table that is absent, or not understood as a whole.
func NewHost(table *mountinfo.Table) *Host {
	if table == nil || len(table.Mounts) == 0 || table.Malformed > 0 {
		return nil
	}
	h := &Host{table: table, pods: map[string][]int32{}}
	for i := range table.Mounts {
		eachVolume(table.Mounts[i].MountPoint, func(uid, _ string) { h.pods[uid] = append(h.pods[uid], int32(i)) })
	}
	return h
}

// Table returns the table, nil of a nil Host.
func (h *Host) Table() *mountinfo.Table {
	if h == nil {
		return nil
	}
	return h.table
}

// Relation says how a container's mount of a volume and the host's relate.
type Relation uint8

// The relations.
const (
	Unclear Relation = iota // the host's table does not tell
	Same                    // the super block is the same
	Other                   // the host has another mount there
	None                    // the host has other mounts of the pod, and none there
	Gone                    // as None, and it had one before
)

// Standing is what the host's table says of one mount of a container.
type Standing struct {
	Relation Relation
	Mount    mountinfo.Mount // the host's, with Same and Other
	Beneath  bool            // with Other: the container has the folder that Mount covers
	Guess    bool            // with Other: Mount is what was left over
	Folder   string          // the host's path of the root of the container's mount; "" when not known
	Own      bool            // Mount is mounted at the volume's own folder, where it can be missed later
}

// Seen is what a container shows of one place.
type Seen struct {
	Table  *mountinfo.Table
	Mount  mountinfo.Mount // valid when Found
	Found  bool
	Before string // Standing.Mount.MountPoint of an earlier Standing that was Own; "" when there was none
}

// compare relates what the container has to the host's mount that covers base, the path which the container's mount
// was bound from.
func (h *Host) compare(base string, c *Seen) Standing {
	m, ok := h.table.Covering(base)
	exact := m.MountPoint == base
	switch {
	case !ok || m.FSType == "autofs" || c.Found && c.Mount.FSType == "autofs":
		return Standing{} // what is mounted on an autofs comes and goes
	case !c.Found:
		return Standing{Relation: which(exact, Other, Unclear), Mount: m, Own: exact}
	}
	inside, _ := cut(base, m.MountPoint)
	s := Standing{Mount: m, Own: exact}
	rest, consistent := cut(c.Mount.Root, join(m.Root, inside))
	if consistent {
		s.Folder = join(base, rest)
	}
	switch {
	case consistent && c.Mount.Device == m.Device:
		s.Relation = Same
	case h.isBeneath(&m, base, &c.Mount, &s):
		s.Relation, s.Beneath = Other, true
	case c.Mount.Device == m.Device || c.covers(m.Device) || h.hasBelow(base, c.Mount.Device):
		s.Relation = Same
	case exact:
		s.Relation = Other
	default: // a symlink in base may lead elsewhere
		return Standing{}
	}
	return s
}

func which(first bool, a, b Relation) Relation {
	if first {
		return a
	}
	return b
}

// isBeneath reports whether c is the folder base of a file system that m covers there: c was bound before m was
// mounted, or m did not get through. The ids are text and may form a ring, so the way down is bounded.
func (h *Host) isBeneath(m *mountinfo.Mount, base string, c *mountinfo.Mount, s *Standing) bool {
	under, ok := h.table.ByID(m.Parent)
	for range h.table.Mounts {
		if !ok {
			return false
		}
		inside, above := cut(base, under.MountPoint)
		if above && under.MountPoint != m.MountPoint && under.Device == c.Device {
			if rest, is := cut(c.Root, join(under.Root, inside)); is {
				s.Folder = join(base, rest)
				return true
			}
		}
		under, ok = h.table.ByID(under.Parent)
	}
	return false
}

// covers reports whether below the container's mount, at the same mount point, there is one of the device: what the
// application has mounted over its volume is its own affair.
func (c *Seen) covers(device mountinfo.Device) bool {
	if c.Table == nil {
		return false
	}
	m := c.Mount
	for range c.Table.Mounts {
		p, ok := c.Table.ByID(m.Parent)
		if !ok || p.MountPoint != c.Mount.MountPoint {
			return false
		}
		if p.Device == device {
			return true
		}
		m = p
	}
	return false
}

// hasBelow reports whether the host has a mount of the device below base: the container may have been bound from a
// folder that lies in it (subPath).
func (h *Host) hasBelow(base string, device mountinfo.Device) bool {
	return slices.ContainsFunc(h.table.Mounts, func(m mountinfo.Mount) bool {
		rest, below := cut(m.MountPoint, base)
		return m.Device == device && below && rest != ""
	})
}
