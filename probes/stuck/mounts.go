package stuck

import (
	"fmt"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// hostPID is the process whose mounts are the host's.
const hostPID = 1

// What is kept of one table. A tenant makes as many mounts as it likes, and chooses their names.
const (
	maxFound = 256
	maxText  = 1 << 10
)

// findMounts returns the first 256 mounts of a process that are wanted, and how many lines are
// malformed. It is proc.ErrGone when the process has exited. The table is not held as a whole, and
// nothing of it is kept.
func (e *Examiner) findMounts(pid int, wanted func(*mountinfo.Mount) bool) (found []mountinfo.Mount, malformed int, err error) {
	p, err := proc.Peek(e.root, pid)
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer p.Release()
	f, err := p.OpenMounts(e.root)
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer proc.CloseMounts(f)
	malformed, err = mountinfo.Each(f, func(m mountinfo.Mount) {
		if len(found) < maxFound && wanted(&m) {
			found = append(found, mountinfo.Mount{Device: m.Device, MountPoint: cutText(m.MountPoint), FSType: cutText(m.FSType)})
		}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	return found, malformed, nil
}

// cutText returns a copy of the first bytes of a text.
func cutText(text string) string { return strings.Clone(text[:min(len(text), maxText)]) }

// hostMounts returns those of the host that are wanted. A malformed line hides a mount, so that
// such a table proves nothing.
func (e *Examiner) hostMounts(wanted func(*mountinfo.Mount) bool) ([]mountinfo.Mount, error) {
	found, malformed, err := e.findMounts(hostPID, wanted)
	if err != nil {
		return nil, fmt.Errorf("read the host's mounts: %w", err)
	}
	if malformed > 0 {
		return nil, fmt.Errorf("read the host's mounts: %d lines are not understood", malformed)
	}
	return found, nil
}
