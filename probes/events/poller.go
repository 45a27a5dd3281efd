package events

import (
	"fmt"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// poller waits for many descriptors with an epoll instance of its own, in one thread. Go's poller does not ask for POLLPRI; nor
// can it wait for the instance, since a mountinfo tells of a change only the first time that it is polled (mounts_poll of
// the kernel), which would be when Go's poller looks whether the instance has anything. For the same reason no descriptor is
// ever armed again. All methods but wait are called under the Watcher's lock.
type poller struct {
	epoll, wake int
	last        uint64 // ids are never used again, so that a late report meets nobody
	watched     map[uint64]watched
}

type watched struct {
	fd   int
	fire func()
}

func newPoller() (*poller, error) {
	epoll, err := sys.EpollCreate()
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	p := &poller{epoll: epoll, watched: map[uint64]watched{}}
	if p.wake, err = sys.Event(); err != nil {
		sys.Close(epoll)
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	if _, err = p.add(p.wake, sys.PollIn, func() {}); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add calls fire, under the Watcher's lock, as long as fd reports the event. The id is never 0.
func (p *poller) add(fd int, event uint32, fire func()) (id uint64, err error) {
	p.last++
	if err := sys.EpollAdd(p.epoll, fd, event, p.last); err != nil {
		return 0, fmt.Errorf("add to epoll: %w", err)
	}
	p.watched[p.last] = watched{fd: fd, fire: fire}
	return p.last, nil
}

// remove must come before the descriptor is closed. An id of 0 is nobody's.
func (p *poller) remove(id uint64) {
	if r, ok := p.watched[id]; ok {
		delete(p.watched, id)
		_ = sys.EpollDelete(p.epoll, r.fd) // cannot fail for what was added
	}
}

// wait returns what has happened. It blocks until something does.
func (p *poller) wait(ids []uint64) ([]uint64, error) {
	n, err := sys.EpollWait(p.epoll, ids)
	return ids[:n], err
}

func (p *poller) dispatch(happened []uint64) {
	for _, id := range happened {
		if r, ok := p.watched[id]; ok { // else it was removed since
			r.fire()
		}
	}
}

// interrupt makes wait return, again and again.
func (p *poller) interrupt() { _ = sys.Signal(p.wake) } // cannot fail the first time

func (p *poller) close() {
	sys.Close(p.wake)
	sys.Close(p.epoll)
}
