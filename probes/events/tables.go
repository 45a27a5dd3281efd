package events

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// table is the watched mount table of one process.
type table struct {
	fd    int    // a fanotify group, or the open mountinfo
	id    uint64 // of fd in the poller
	pins  bool   // fd pins the namespace while the process lives, and is closed with it
	pidfd int    // of the process, where fd pins; else -1
	ended uint64 // of pidfd in the poller
}

var errTooManyStuck = errors.New("too many mount namespaces do not come down")

// openTable watches the mount table of p for the pod, in the way that pins nothing if there is one.
func (w *Watcher) openTable(pod string, p *proc.Process) (*table, error) {
	if w.fanotify.Available {
		if t, err := w.openGroup(pod, p); err == nil {
			return t, nil
		}
	}
	if !w.mountinfo.Available {
		return nil, errors.ErrUnsupported
	}
	return w.openMountinfo(pod, p)
}

// openGroup marks the process's mount namespace, which is open for that moment only.
func (w *Watcher) openGroup(pod string, p *proc.Process) (*table, error) {
	group, err := groupOf(p)
	if err != nil {
		return nil, err
	}
	t := &table{fd: group, pidfd: -1}
	t.id, err = w.poller.add(group, sys.PollIn, func() {
		w.drain(group)
		w.queue.announce(pod, probes.TriggerMountTable)
	})
	if err != nil {
		w.closeTable(t)
		return nil, err
	}
	return t, nil
}

// groupOf asks the pidfd for the namespace: to open /proc/PID/ns/mnt may take for ever (see proc.Tasks).
func groupOf(p *proc.Process) (int, error) {
	pidfd, err := pidfdOf(p)
	if err != nil {
		return -1, fmt.Errorf("open a pidfd: %w: it needs Linux 5.10", err)
	}
	defer sys.Close(pidfd)
	namespace, err := sys.MountNamespace(pidfd)
	if err != nil {
		return -1, fmt.Errorf("open a mount namespace by a pidfd: %w: it needs Linux 6.11", err)
	}
	defer sys.Close(namespace)
	group, err := sys.WatchMounts(namespace)
	switch {
	case errors.Is(err, syscall.EINVAL):
		return -1, fmt.Errorf("mark a mount namespace: %w: it needs Linux 6.15", err)
	case errors.Is(err, syscall.EPERM):
		return -1, fmt.Errorf("mark a mount namespace: %w: it needs CAP_SYS_ADMIN", err)
	case err != nil:
		return -1, fmt.Errorf("mark a mount namespace: %w", err)
	}
	return group, nil
}

const (
	drainBuffer = 16 << 10
	drainReads  = 64 // more than a group queues: 16,384 events (fs.fanotify.max_queued_events) of 40 bytes
)

// drain empties a fanotify group before its events are announced: one that comes later is reported again.
func (w *Watcher) drain(group int) {
	_ = sys.Drain(group, w.buffer, drainReads) // what cannot be read is reported again
}

// openMountinfo holds the process's mountinfo together with its pidfd.
func (w *Watcher) openMountinfo(pod string, p *proc.Process) (*table, error) {
	if w.releaser.stuck() {
		return nil, errTooManyStuck
	}
	pidfd, err := pidfdOf(p)
	if err != nil {
		return nil, err
	}
	t := &table{fd: -1, pins: true, pidfd: pidfd}
	if err := w.fillMountinfo(t, pod, p); err != nil {
		w.closeTable(t)
		return nil, err
	}
	return t, nil
}

func (w *Watcher) fillMountinfo(t *table, pod string, p *proc.Process) (err error) {
	if t.fd, err = openMounts(p); err != nil {
		return err
	}
	serial := p.Serial
	t.ended, err = w.poller.add(t.pidfd, sys.PollIn, func() { w.dropTable(pod, serial) })
	if err != nil {
		return err
	}
	t.id, err = w.poller.add(t.fd, sys.PollPri, func() { w.queue.announce(pod, probes.TriggerMountTable) })
	return err
}

// dropTable lets go of the table of a process that has ended. That is no event: its container is gone, or another of
// its processes is found by the next look.
func (w *Watcher) dropTable(pod string, serial uint64) {
	held := w.pods[pod]
	if held == nil || held.tables[serial] == nil {
		return
	}
	w.closeTable(held.tables[serial])
	delete(held.tables, serial)
	w.tables--
}

func (w *Watcher) closeTable(t *table) {
	w.poller.remove(t.id)
	w.poller.remove(t.ended)
	if t.fd >= 0 {
		w.releaser.put(t.fd, t.pins)
	}
	if t.pidfd >= 0 {
		sys.Close(t.pidfd)
	}
}

// openMounts opens the process's mountinfo, outside of Go's poller.
func openMounts(p *proc.Process) (fd int, err error) {
	err = p.Hand(func(dir int) (err error) {
		fd, err = sys.OpenAt(dir, "mountinfo")
		return err
	})
	return fd, err
}

// pidfdOf returns a pidfd of the process. That the held folder still answers shows that its id was not used again before.
func pidfdOf(p *proc.Process) (int, error) {
	fd, err := sys.PidfdOpen(p.PID)
	if err != nil {
		return -1, err
	}
	if err := p.Check(); err != nil {
		sys.Close(fd)
		return -1, err
	}
	return fd, nil
}
