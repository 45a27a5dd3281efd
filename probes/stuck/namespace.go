package stuck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// namespace is a mount namespace, or what some processes see of one.
type namespace struct {
	pid   int // the first process that is in it
	own   bool
	table *mountinfo.Table
}

// namespaces returns the mounts of all processes of the node, those that are the same once, the host's first. A process that has
// exited has none; what cannot be read is an error. The first line names the table, since ids of mounts are the node's: the links of
// /proc/PID/ns would name it as well, and may keep waiting (see proc.Tasks).
func (e *Examiner) namespaces(ctx context.Context, podUID string) ([]namespace, error) {
	pids, err := proc.All(e.root)
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 || pids[0] != hostPID {
		return nil, fmt.Errorf("%s has no process %d: it is not the host's", e.root, hostPID)
	}
	index := map[string]int{}
	var all []namespace
	for _, pid := range pids {
		err := errors.Join(e.enter(pid, podUID, index, &all), ctx.Err())
		if errors.Is(err, proc.ErrGone) && pid != hostPID {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mounts of process %d: %w", pid, err)
		}
	}
	return all, nil
}

// enter adds the namespace of a process, unless it is known.
func (e *Examiner) enter(pid int, podUID string, index map[string]int, all *[]namespace) error {
	p, err := proc.Peek(e.root, pid)
	if err != nil {
		return err
	}
	defer p.Release()
	f, err := p.OpenMounts(e.root)
	if err != nil {
		return err
	}
	defer proc.CloseMounts(f)
	begin, first, err := firstLine(f)
	if err != nil {
		return err
	}
	i, known := index[first]
	if !known {
		table, err := mountinfo.Read(io.MultiReader(strings.NewReader(begin), f))
		if err != nil {
			return err
		}
		i = len(*all)
		index[first], *all = i, append(*all, namespace{pid: pid, table: table})
	}
	(*all)[i].own = (*all)[i].own || p.InPod(podUID)
	return nil
}

// firstLine reads the begin of a table. A line is longer than that only where its names are, and then the begin names it.
func firstLine(f *os.File) (begin, line string, err error) {
	buf := make([]byte, 4<<10) // the kernel hands out a page at a time
	n, err := f.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	begin = string(buf[:n])
	line, _, _ = strings.Cut(begin, "\n")
	return begin, line, nil
}
