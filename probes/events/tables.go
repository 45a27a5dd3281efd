package events

import (
	"errors"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// identity names a process for ever.
type identity struct {
	pid   int
	start uint64
}

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
	namespace, err := openFile(p, "ns/mnt")
	if err != nil {
		return nil, err
	}
	group, err := sys.WatchMounts(namespace)
	sys.Close(namespace)
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
	if t.fd, err = openFile(p, "mountinfo"); err != nil {
		return err
	}
	id := identityOf(p)
	t.ended, err = w.poller.add(t.pidfd, sys.PollIn, func() { w.dropTable(pod, id) })
	if err != nil {
		return err
	}
	t.id, err = w.poller.add(t.fd, sys.PollPri, func() { w.queue.announce(pod, probes.TriggerMountTable) })
	return err
}

// dropTable lets go of the table of a process that has ended. That is no event: its container is gone, or another of
// its processes is found by the next look.
func (w *Watcher) dropTable(pod string, process identity) {
	held := w.pods[pod]
	if held == nil || held.tables[process] == nil {
		return
	}
	w.closeTable(held.tables[process])
	delete(held.tables, process)
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

func identityOf(p *proc.Process) identity { return identity{pid: p.PID, start: p.Start} }

// openFile opens a file of the process's folder, outside of Go's poller.
func openFile(p *proc.Process, name string) (fd int, err error) {
	err = p.Hand(func(dir int) (err error) {
		fd, err = sys.OpenAt(dir, name)
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
