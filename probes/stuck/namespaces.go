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
	"github.com/mountwarden/mountwarden/probes/view"
)

// namespace is what a mount namespace, or what some processes see of one, has of a device. Its
// table is not kept: a node has hundreds, as large as tenants like.
type namespace struct {
	pid int // the first process that is in it
	own bool

	mounts    int    // of the device
	inVolumes int    // of these, at volumes of the pod
	elsewhere string // the first of them that others may use; "" when none
}

// namespaceScan finds out who uses a device.
type namespaceScan struct {
	root   string
	podUID string
	device mountinfo.Device

	index  map[string]int // of the spaces, by their first line
	spaces []namespace
}

// listNamespaces returns what the processes of the node have of a device: the host's first, and
// processes with the same mounts once. A process that has exited has none; what cannot be read is
// an error. The first line identifies the table, since ids of mounts are unique on the node: the
// links of /proc/PID/ns would identify it as well, but may keep waiting (see proc.Tasks). It is
// ErrRefused when a mount forbids an abort, whoever sees it.
func (e *Examiner) listNamespaces(ctx context.Context, podUID string, d mountinfo.Device) ([]namespace, error) {
	pids, err := proc.All(e.root)
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 || pids[0] != hostPID {
		return nil, fmt.Errorf("%s has no process %d: it is not the host's", e.root, hostPID)
	}
	s := namespaceScan{root: e.root, podUID: podUID, device: d, index: map[string]int{}}
	for _, pid := range pids {
		err := errors.Join(s.addNamespaceOf(pid), ctx.Err())
		switch {
		case errors.Is(err, proc.ErrGone) && pid != hostPID:
		case errors.Is(err, ErrRefused):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("mounts of process %d: %w", pid, err)
		}
	}
	return s.spaces, nil
}

// addNamespaceOf adds the namespace of a process, unless it is known.
func (s *namespaceScan) addNamespaceOf(pid int) error {
	p, err := proc.Peek(s.root, pid)
	if err != nil {
		return err
	}
	defer p.Release()
	f, err := p.OpenMounts(s.root)
	if err != nil {
		return err
	}
	defer proc.CloseMounts(f)
	begin, first, err := readFirstLine(f)
	if err != nil {
		return err
	}
	i, known := s.index[first]
	if !known {
		space, err := s.countMounts(pid, io.MultiReader(strings.NewReader(begin), f))
		if err != nil {
			return err
		}
		i = len(s.spaces)
		s.index[first], s.spaces = i, append(s.spaces, space)
	}
	s.spaces[i].own = s.spaces[i].own || p.InPod(s.podUID)
	return nil
}

// countMounts counts the mounts of the device in the table of a process.
func (s *namespaceScan) countMounts(pid int, table io.Reader) (namespace, error) {
	space := namespace{pid: pid}
	var forbids error
	malformed, err := mountinfo.Each(table, func(m mountinfo.Mount) {
		if m.Device == s.device && forbids == nil {
			forbids = space.addMount(s.podUID, &m)
		}
	})
	if err == nil && malformed > 0 {
		err = refuseAbort("who uses %s cannot be told: %d mounts of process %d are not understood", s.device, malformed, pid)
	}
	return space, errors.Join(err, forbids)
}

// addMount counts a mount of the device.
func (s *namespace) addMount(podUID string, m *mountinfo.Mount) error {
	if !view.IsFUSE(m.FSType) {
		return refuseAbort("%s is no FUSE file system but %s", m.Device, truncateName(m.FSType))
	}
	s.mounts++
	switch pod := podOfPath(m.MountPoint); {
	case pod == podUID:
		s.inVolumes++
	case pod != "":
		return refuseAbort("the pod %s uses %s as well, at %s", truncateName(pod), m.Device, truncateName(m.MountPoint))
	case !isStagingPath(m.MountPoint) && s.elsewhere == "":
		s.elsewhere = truncateName(m.MountPoint)
	}
	return nil
}

// readFirstLine reads the beginning of a table. A line is longer than that only when its names
// are, and then the beginning identifies it.
func readFirstLine(f *os.File) (begin, line string, err error) {
	buf := make([]byte, 4<<10) // the kernel hands out a page at a time
	n, err := f.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	begin = string(buf[:n])
	line, _, _ = strings.Cut(begin, "\n")
	return begin, line, nil
}
