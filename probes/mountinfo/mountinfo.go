package mountinfo

import (
	"strconv"
	"strings"
)

// Device is the st_dev of a super block. It is unique on the node while the super block lives.
type Device struct{ Major, Minor uint32 }

// String returns "major:minor".
func (d Device) String() string {
	text := strconv.AppendUint(make([]byte, 0, len("4294967295:4294967295")), uint64(d.Major), 10)
	text = append(text, ':')
	return string(strconv.AppendUint(text, uint64(d.Minor), 10))
}

// Mount is one line of the table. Its texts are untrusted: whoever mounts chooses most of them.
type Mount struct {
	ID           int
	Parent       int // the ID of the mount it is mounted on, which may be outside the table
	Device       Device
	Root         string // the directory of the file system that is mounted
	MountPoint   string // as the process sees it
	Options      string // of this mount
	Optional     string // propagation: "shared:1 master:2", "" when private
	FSType       string
	Source       string // may be empty
	SuperOptions string // of the super block
}

// Clone returns the same mount with copies of its texts: those of m keep the part of the table in
// memory that it was read in.
func (m Mount) Clone() Mount {
	for _, text := range []*string{&m.Root, &m.MountPoint, &m.Options, &m.Optional, &m.FSType, &m.Source, &m.SuperOptions} {
		*text = strings.Clone(*text)
	}
	return m
}

// Table is one reading of a process's mounts, in the kernel's order.
type Table struct {
	Mounts    []Mount
	Malformed int // malformed lines; with any, "not in the table" proves nothing

	index *tableIndex // nil when there are few mounts
	bytes int
}

// Bytes returns how much memory the table takes, and what its Mounts refer to, at most.
func (t *Table) Bytes() int { return t.bytes }

// ByID returns the mount with the id.
func (t *Table) ByID(id int) (Mount, bool) {
	if t.index != nil {
		i, ok := t.index.ids[id]
		if !ok {
			return Mount{}, false
		}
		return t.Mounts[i], true
	}
	for i := range t.Mounts {
		if t.Mounts[i].ID == id {
			return t.Mounts[i], true
		}
	}
	return Mount{}, false
}

// At returns the topmost mount at path, which must be absolute and clean. It follows the text
// only: a path through a symlink is not found, and only the kernel knows for certain what is
// covered.
func (t *Table) At(path string) (Mount, bool) {
	m, ok := t.Covering(path)
	return m, ok && m.MountPoint == path
}

// Covering returns the mount that path lies on. It walks from the root down, and at each element
// of the path it climbs to what is mounted there on top of the mount reached so far. So it passes
// over a mount that was covered later, at its own mount point or above it, although that stays
// listed.
func (t *Table) Covering(path string) (Mount, bool) {
	at := t.topMount(nil, "/")
	for end := 1; end < len(path); {
		end = endOfElement(path, end)
		at = t.topMount(at, path[:end])
	}
	if at == nil {
		return Mount{}, false
	}
	return *at, true
}

// topMount climbs from at to the last of the mounts that are stacked on it at point. The ids are
// text and may form a cycle, so the climb is bounded.
func (t *Table) topMount(at *Mount, point string) *Mount {
	for range t.Mounts {
		next := t.lastChild(at, point)
		if next == nil {
			break
		}
		at = next
	}
	return at
}

// endOfElement returns the end of the path element that follows path[:end].
func endOfElement(path string, end int) int {
	if i := strings.IndexByte(path[end+1:], '/'); i >= 0 {
		return end + 1 + i
	}
	return len(path)
}

// lastChild returns the last mount at point whose parent is at. Without at it is a mount whose
// parent is not in the table: the root of the process, or the first level of mounts when the root
// of the process is no mount point.
func (t *Table) lastChild(at *Mount, point string) *Mount {
	if t.index != nil {
		if i, ok := t.index.lastChild(at, point); ok {
			return &t.Mounts[i]
		}
		return nil
	}
	for i := len(t.Mounts) - 1; i >= 0; i-- {
		m := &t.Mounts[i]
		if m.MountPoint == point && t.isChild(m, at) {
			return m
		}
	}
	return nil
}

// isChild reports whether m is mounted on at; without at, whether its parent is not in the table.
func (t *Table) isChild(m, at *Mount) bool {
	if at != nil {
		return m.Parent == at.ID && m.Parent != m.ID
	}
	_, listed := t.ByID(m.Parent)
	return !listed || m.Parent == m.ID
}
