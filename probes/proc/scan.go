package proc

import (
	"fmt"
	"os"
	"strconv"
)

// candidate is a process that may stand for a container id.
type candidate struct {
	pid                int
	innerPID           int // its id in its own pid namespace
	outerIDs, innerIDs int // ids outside and inside of this one in its cgroup path
}

// isBetter prefers the id that is nested least, which a container cannot claim from inside another
// one; then the process directly in the container; then the container's first, which has the
// smallest id in its pid namespace. When a process was started is in files alone that cannot be
// read of every process (see Tasks).
func (c candidate) isBetter(d candidate) bool {
	switch {
	case c.outerIDs != d.outerIDs:
		return c.outerIDs < d.outerIDs
	case c.innerIDs != d.innerIDs:
		return c.innerIDs < d.innerIDs
	case c.innerPID != d.innerPID:
		return c.innerPID < d.innerPID
	default:
		return c.pid < d.pid
	}
}

// scanProcesses reads the cgroups of all processes and returns the best candidate for each id that
// it finds.
func scanProcesses(root string) (map[string]candidate, error) {
	names, err := readNames(root)
	if err != nil {
		return nil, fmt.Errorf("scan processes: %w", err)
	}
	index := map[string]candidate{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			indexProcess(index, root, pid)
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

// indexProcess adds one process to the index. A process that exits meanwhile, or monitors a
// container, belongs to none.
func indexProcess(index map[string]candidate, root string, pid int) {
	dir := root + "/" + strconv.Itoa(pid) + "/"
	text, err := os.ReadFile(dir + "cgroup") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	lines := parseContainerIDs(string(text))
	if len(lines) == 0 {
		return
	}
	text, err = os.ReadFile(dir + "status") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	t, err := parseStatus(string(text))
	if err != nil || t.Comm == "conmon" {
		return
	}
	for _, ids := range lines {
		for i, id := range ids {
			c := candidate{pid: pid, innerPID: t.innerPID, outerIDs: i, innerIDs: len(ids) - 1 - i}
			if old, ok := index[id]; !ok || c.isBetter(old) {
				index[id] = c
			}
		}
	}
}
