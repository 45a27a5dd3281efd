package view

import (
	"slices"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// HostTable is a mount table of the host, in which the volumes of pods are found. A nil HostTable
// proves nothing.
type HostTable struct {
	table *mountinfo.Table
	pods  map[string][]int32 // by UID, the indexes of the mounts below the pod's directory "volumes"
}

// NewHostTable returns nil for a table that is absent, or has a line that cannot be parsed.
func NewHostTable(table *mountinfo.Table) *HostTable {
	if table == nil || len(table.Mounts) == 0 || table.Malformed > 0 {
		return nil
	}
	h := &HostTable{table: table, pods: map[string][]int32{}}
	for i := range table.Mounts {
		forEachVolume(table.Mounts[i].MountPoint, func(uid, _ string) { h.pods[uid] = append(h.pods[uid], int32(i)) })
	}
	return h
}

// Table returns the parsed table, or nil for a nil HostTable.
func (h *HostTable) Table() *mountinfo.Table {
	if h == nil {
		return nil
	}
	return h.table
}

// Relation says how a container's mount of a volume and the host's mount of it relate.
type Relation uint8

// The relations.
const (
	RelationUnclear Relation = iota // not known from the host's table
	RelationSame                    // both have the same super block
	RelationOther                   // the host has another mount there
	RelationNone                    // the host has other mounts of the pod, and none there
	RelationGone                    // as RelationNone, and it had one before
)

// HostMatch is what the host's table says about one mount of a container.
type HostMatch struct {
	Relation Relation
	Mount    mountinfo.Mount // the host's, with RelationSame and RelationOther
	Covered  bool            // with RelationOther: the container has the directory that Mount covers
	Inferred bool            // with RelationOther: Mount was found by elimination
	RootPath string          // the host's path of the root of the container's mount; "" when not known
	AtVolume bool            // Mount is at the volume's own directory, so its absence later is meaningful
}

// ContainerMount is what a container has at one path.
type ContainerMount struct {
	Table         *mountinfo.Table
	Mount         mountinfo.Mount // valid when Found
	Found         bool
	LastHostPoint string // the host's mount point of the latest match with AtVolume; "" when there was none
}

// matchMount relates the container's mount to the host's mount that covers base. The container's
// mount was bound from the path base.
func (h *HostTable) matchMount(base string, c *ContainerMount) HostMatch {
	m, ok := h.table.Covering(base)
	exact := m.MountPoint == base
	switch {
	case !ok || m.FSType == "autofs" || c.Found && c.Mount.FSType == "autofs":
		return HostMatch{} // autofs mounts on access and unmounts later
	case !c.Found:
		return HostMatch{Relation: chooseRelation(exact, RelationOther, RelationUnclear), Mount: m, AtVolume: exact}
	}
	inside, _ := cutDir(base, m.MountPoint)
	s := HostMatch{Mount: m, AtVolume: exact}
	rest, consistent := cutDir(c.Mount.Root, joinPath(m.Root, inside))
	if consistent {
		s.RootPath = joinPath(base, rest)
	}
	switch {
	case consistent && c.Mount.Device == m.Device:
		s.Relation = RelationSame
	case h.isCovered(&m, base, &c.Mount, &s):
		s.Relation, s.Covered = RelationOther, true
	case c.Mount.Device == m.Device || c.coversDevice(m.Device) || h.hasDeviceBelow(base, c.Mount.Device):
		s.Relation = RelationSame
	case exact:
		s.Relation = RelationOther
	default: // a symlink in base may lead elsewhere
		return HostMatch{}
	}
	return s
}

func chooseRelation(first bool, a, b Relation) Relation {
	if first {
		return a
	}
	return b
}

// isCovered reports whether c is the directory base of a file system that m covers there: c was
// bound before m was mounted, or m was not propagated. The parent ids are text and may form a loop,
// so the descent is bounded.
func (h *HostTable) isCovered(m *mountinfo.Mount, base string, c *mountinfo.Mount, s *HostMatch) bool {
	under, ok := h.table.ByID(m.Parent)
	for range h.table.Mounts {
		if !ok {
			return false
		}
		inside, above := cutDir(base, under.MountPoint)
		if above && under.MountPoint != m.MountPoint && under.Device == c.Device {
			if rest, is := cutDir(c.Root, joinPath(under.Root, inside)); is {
				s.RootPath = joinPath(base, rest)
				return true
			}
		}
		under, ok = h.table.ByID(under.Parent)
	}
	return false
}

// coversDevice reports whether the container's mount is stacked on one of the device, at the same
// mount point: the application has mounted something over its volume, which is not a fault.
func (c *ContainerMount) coversDevice(device mountinfo.Device) bool {
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

// hasDeviceBelow reports whether the host has a mount of the device below base. The container may
// have been bound from a directory in it (subPath).
func (h *HostTable) hasDeviceBelow(base string, device mountinfo.Device) bool {
	return slices.ContainsFunc(h.table.Mounts, func(m mountinfo.Mount) bool {
		rest, below := cutDir(m.MountPoint, base)
		return m.Device == device && below && rest != ""
	})
}
