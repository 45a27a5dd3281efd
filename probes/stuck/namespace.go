package stuck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/proc"
)

// namespace is a mount namespace, which a process stands for.
type namespace struct {
	pid int
	own bool // of the pod
}

// namespaces returns each mount namespace of the node once, the host's first. One that cannot be told is an error.
func (e *Examiner) namespaces(ctx context.Context, podUID string) ([]namespace, error) {
	pids, err := proc.All(e.root)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	var all []namespace
	for _, pid := range pids {
		name, err := e.namespaceOf(pid)
		if isGone(err) && pid != hostPID {
			continue
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("mount namespace of process %d: %w", pid, err)
		}
		i, known := index[name]
		if !known {
			i = len(all)
			index[name], all = i, append(all, namespace{pid: pid})
		}
		all[i].own = all[i].own || proc.InPod(e.root, pid, podUID)
	}
	if len(all) == 0 || all[0].pid != hostPID {
		return nil, fmt.Errorf("%s has no process %d: it is not the host's", e.root, hostPID)
	}
	return all, nil
}

// namespaceOf names the mount namespace of a process. The first thread of one may have exited, and so have none, while others
// go on.
func (e *Examiner) namespaceOf(pid int) (string, error) {
	folder := filepath.Join(e.root, strconv.Itoa(pid))
	name, err := os.Readlink(filepath.Join(folder, "ns/mnt"))
	if !isGone(err) {
		return name, err
	}
	tasks, _ := proc.Tasks(e.root, pid) // it is gone then, too
	for _, t := range tasks {
		if name, err := os.Readlink(filepath.Join(folder, "task", strconv.Itoa(t.TID), "ns/mnt")); !isGone(err) {
			return name, err
		}
	}
	return "", err
}

// isGone reports whether a process or thread has exited; its namespaces go before it does.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, proc.ErrGone) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL)
}
