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

// namespace is what is known of a device in a mount namespace, or in what some processes see of
// one. Its table is not kept: a node has hundreds, as large as tenants like.
type namespace struct {
	pid int // the first process that is in it
	own bool

	mounts    int    // of the device
	ofPod     int    // of them at volumes of the pod
	elsewhere string // the first of them that is there for somebody else, perhaps; "" when none is
}

// survey finds out who uses a device.
type survey struct {
	root   string
	podUID string
	device mountinfo.Device

	index  map[string]int // of the spaces, by their first line
	spaces []namespace
}

// namespaces returns what the processes of the node have of a device, those that have the same
// mounts once, the host's first. A process that has exited has none; what cannot be read is an
// error. The first line names the table, since ids of mounts are the node's: the links of
// /proc/PID/ns would name it as well, and may keep waiting (see proc.Tasks). It is ErrRefused when
// a mount forbids an abort, whoever sees it.
func (e *Examiner) namespaces(ctx context.Context, podUID string, d mountinfo.Device) ([]namespace, error) {
	pids, err := proc.All(e.root)
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 || pids[0] != hostPID {
		return nil, fmt.Errorf("%s has no process %d: it is not the host's", e.root, hostPID)
	}
	s := survey{root: e.root, podUID: podUID, device: d, index: map[string]int{}}
	for _, pid := range pids {
		err := errors.Join(s.addProcess(pid), ctx.Err())
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

// addProcess adds the namespace of a process, unless it is known.
func (s *survey) addProcess(pid int) error {
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
	begin, first, err := firstLine(f)
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
func (s *survey) countMounts(pid int, table io.Reader) (namespace, error) {
	space := namespace{pid: pid}
	var forbids error
	malformed, err := mountinfo.Each(table, func(m mountinfo.Mount) {
		if m.Device == s.device && forbids == nil {
			forbids = space.addMount(s.podUID, &m)
		}
	})
	if err == nil && malformed > 0 {
		err = refuse("who uses %s cannot be told: %d mounts of process %d are not understood", s.device, malformed, pid)
	}
	return space, errors.Join(err, forbids)
}

// addMount counts a mount of the device.
func (s *namespace) addMount(podUID string, m *mountinfo.Mount) error {
	if !view.IsFUSE(m.FSType) {
		return refuse("%s is no FUSE file system but %s", m.Device, short(m.FSType))
	}
	s.mounts++
	switch pod := ofPod(m.MountPoint); {
	case pod == podUID:
		s.ofPod++
	case pod != "":
		return refuse("the pod %s uses %s as well, at %s", short(pod), m.Device, short(m.MountPoint))
	case !isStaged(m.MountPoint) && s.elsewhere == "":
		s.elsewhere = short(m.MountPoint)
	}
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
