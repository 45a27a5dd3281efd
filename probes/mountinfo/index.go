package mountinfo

// minIndexed is the number of mounts from which a table gets an index. Below that, as in most
// containers, a walk through the lines is faster than making one.
const minIndexed = 100

// tableIndex answers as the lines would, without a walk through all of them: a tenant can stack
// thousands of mounts on each other, and the table of a node has thousands anyway.
type tableIndex struct {
	ids      map[int]int32
	children map[childKey]int32 // the last mount of a parent at a point
	roots    map[string]int32
}

// childKey is where a mount is mounted.
type childKey struct {
	parent int
	point  string
}

// newIndex returns the index of a table's mounts. Where an id or a place occurs twice, it finds
// the mount that a walk through the lines would find.
func newIndex(mounts []Mount) *tableIndex {
	x := &tableIndex{
		ids:      make(map[int]int32, len(mounts)),
		children: make(map[childKey]int32, len(mounts)),
		roots:    map[string]int32{},
	}
	for i := range mounts {
		if _, twice := x.ids[mounts[i].ID]; !twice {
			x.ids[mounts[i].ID] = int32(i)
		}
	}
	for i := range mounts {
		m := &mounts[i]
		if m.Parent != m.ID {
			x.children[childKey{m.Parent, m.MountPoint}] = int32(i)
		}
		if _, listed := x.ids[m.Parent]; !listed || m.Parent == m.ID {
			x.roots[m.MountPoint] = int32(i)
		}
	}
	return x
}

// lastChild is Table.lastChild.
func (x *tableIndex) lastChild(at *Mount, point string) (i int32, ok bool) {
	if at == nil {
		i, ok = x.roots[point]
		return i, ok
	}
	i, ok = x.children[childKey{at.ID, point}]
	return i, ok
}
