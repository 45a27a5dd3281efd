package proc

import (
	"fmt"
	"os"
	"strconv"
)

// candidate is a process that may stand for a container id.
type candidate struct {
	pid           int
	inner         int // its id in its own pid namespace
	before, after int // ids outside and inside of this one in its cgroup path
}

// better prefers the id that is nested least, which a container cannot claim from inside another one; then the process
// directly in the container; then the container's first, which has the smallest id in its pid namespace. When it was started is told
// by files alone that cannot be read of every process (see Tasks).
func (c candidate) better(d candidate) bool {
	switch {
	case c.before != d.before:
		return c.before < d.before
	case c.after != d.after:
		return c.after < d.after
	case c.inner != d.inner:
		return c.inner < d.inner
	default:
		return c.pid < d.pid
	}
}

// scan reads the cgroups of all processes and returns the best candidate for each id it meets.
func scan(root string) (map[string]candidate, error) {
	names, err := readNames(root)
	if err != nil {
		return nil, fmt.Errorf("scan processes: %w", err)
	}
	index := map[string]candidate{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			consider(index, root, pid)
		}
	}
	return index, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir) //nolint:gosec // the root of /proc is the operator's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	return f.Readdirnames(-1)
}

// consider enters one process. A process that exits meanwhile, or monitors a container, is nobody's.
func consider(index map[string]candidate, root string, pid int) {
	folder := root + "/" + strconv.Itoa(pid) + "/"
	text, err := os.ReadFile(folder + "cgroup") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	lines := claims(string(text))
	if len(lines) == 0 {
		return
	}
	text, err = os.ReadFile(folder + "status") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	t, err := parseStatus(string(text))
	if err != nil || t.Comm == "conmon" {
		return
	}
	for _, ids := range lines {
		for i, id := range ids {
			c := candidate{pid: pid, inner: t.inner, before: i, after: len(ids) - 1 - i}
			if old, ok := index[id]; !ok || c.better(old) {
				index[id] = c
			}
		}
	}
}
