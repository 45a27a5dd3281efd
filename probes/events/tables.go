package events

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// tableWatch watches the mount table of one process.
type tableWatch struct {
	fd            int    // a fanotify group, or the open mountinfo
	pollID        uint64 // of fd in the poller
	pinsNamespace bool   // fd pins the namespace while the process lives, and is closed with it
	pidfd         int    // of the process when pinsNamespace is set, else -1
	endID         uint64 // of pidfd in the poller
}

var errTooManyClosers = errors.New("too many mount namespaces do not come down")

// watchTable watches the mount table of p for the pod, with fanotify if possible, because it does
// not pin the namespace.
func (w *Watcher) watchTable(pod string, p *proc.Process) (*tableWatch, error) {
	if w.fanotify.Available {
		if t, err := w.watchByFanotify(pod, p); err == nil {
			return t, nil
		}
	}
	if !w.mountinfo.Available {
		return nil, errors.ErrUnsupported
	}
	return w.watchByMountinfo(pod, p)
}

// watchByFanotify marks the process's mount namespace. The namespace is open only for that moment.
func (w *Watcher) watchByFanotify(pod string, p *proc.Process) (*tableWatch, error) {
	group, err := openFanotifyGroup(p)
	if err != nil {
		return nil, err
	}
	t := &tableWatch{fd: group, pidfd: -1}
	t.pollID, err = w.poller.registerFD(group, sys.PollIn, func() {
		w.drainGroup(group)
		w.queue.announceEvent(pod, probes.TriggerMountTable)
	})
	if err != nil {
		w.closeTable(t)
		return nil, err
	}
	return t, nil
}

// openFanotifyGroup gets the namespace from a pidfd: opening /proc/PID/ns/mnt may block
// indefinitely (see proc.Tasks).
func openFanotifyGroup(p *proc.Process) (int, error) {
	pidfd, err := openPidfd(p)
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
	drainBufferSize = 16 << 10
	maxDrainReads   = 64 // more than a group queues: 16,384 events (fs.fanotify.max_queued_events) of 40 bytes
)

// drainGroup empties a fanotify group before its events are announced, so that a later event is
// reported again.
func (w *Watcher) drainGroup(group int) {
	_ = sys.Drain(group, w.buffer, maxDrainReads) // an event that was not read is reported again
}

// watchByMountinfo keeps the process's mountinfo open, together with a pidfd. The open file pins
// the mount namespace, and the pidfd says when to close it.
func (w *Watcher) watchByMountinfo(pod string, p *proc.Process) (*tableWatch, error) {
	if w.closer.isFull() {
		return nil, errTooManyClosers
	}
	pidfd, err := openPidfd(p)
	if err != nil {
		return nil, err
	}
	t := &tableWatch{fd: -1, pinsNamespace: true, pidfd: pidfd}
	if err := w.registerMountinfo(t, pod, p); err != nil {
		w.closeTable(t)
		return nil, err
	}
	return t, nil
}

// registerMountinfo opens the mountinfo and registers it and the pidfd with the poller.
func (w *Watcher) registerMountinfo(t *tableWatch, pod string, p *proc.Process) (err error) {
	if t.fd, err = openMountinfo(p); err != nil {
		return err
	}
	serial := p.Serial
	t.endID, err = w.poller.registerFD(t.pidfd, sys.PollIn, func() { w.dropTable(pod, serial) })
	if err != nil {
		return err
	}
	t.pollID, err = w.poller.registerFD(t.fd, sys.PollPri, func() { w.queue.announceEvent(pod, probes.TriggerMountTable) })
	return err
}

// dropTable stops watching the table of a process that has ended. It announces nothing: the
// container is gone, or the next probe finds another of its processes.
func (w *Watcher) dropTable(pod string, serial uint64) {
	p := w.pods[pod]
	if p == nil || p.tables[serial] == nil {
		return
	}
	w.closeTable(p.tables[serial])
	delete(p.tables, serial)
	w.tables--
}

func (w *Watcher) closeTable(t *tableWatch) {
	w.poller.unregisterFD(t.pollID)
	w.poller.unregisterFD(t.endID)
	if t.fd >= 0 {
		w.closer.closeLater(t.fd, t.pinsNamespace)
	}
	if t.pidfd >= 0 {
		sys.Close(t.pidfd)
	}
}

// openMountinfo opens the process's mountinfo without adding it to Go's poller.
func openMountinfo(p *proc.Process) (fd int, err error) {
	err = p.Hand(func(dir int) (err error) {
		fd, err = sys.OpenAt(dir, "mountinfo")
		return err
	})
	return fd, err
}

// openPidfd returns a pidfd of the process. The held directory still answers after pidfd_open(2),
// so the id was not reused before.
func openPidfd(p *proc.Process) (int, error) {
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
