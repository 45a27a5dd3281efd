package mountinfo

// indexFrom is the number of mounts from which a table gets an index. Below, as in most containers, walking
// through the lines is faster than making one.
const indexFrom = 100

// index answers what the lines would, without walking through all of them: a tenant can stack thousands of
// mounts on each other, and the table of a node has thousands anyway.
type index struct {
	ids      map[int]int32
	children map[place]int32 // the last mount of a parent at a point
	roots    map[string]int32
}

// place is where a mount is mounted.
type place struct {
	parent int
	point  string
}

func newIndex(mounts []Mount) *index {
	x := &index{
		ids:      make(map[int]int32, len(mounts)),
		children: make(map[place]int32, len(mounts)),
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
			x.children[place{m.Parent, m.MountPoint}] = int32(i)
		}
		if _, listed := x.ids[m.Parent]; !listed || m.Parent == m.ID {
			x.roots[m.MountPoint] = int32(i)
		}
	}
	return x
}

// child is Table.child.
func (x *index) child(at *Mount, point string) (i int32, ok bool) {
	if at == nil {
		i, ok = x.roots[point]
		return i, ok
	}
	i, ok = x.children[place{at.ID, point}]
	return i, ok
}
