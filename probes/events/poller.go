package events

import (
	"fmt"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// poller waits for many descriptors with one epoll instance, in one thread. Go's poller cannot do
// this for two reasons. It does not ask for POLLPRI. And it cannot wait for the epoll instance
// itself: a mountinfo file reports a change only to the first poll after it (mounts_poll in
// fs/proc_namespace.c), and Go's poller would use up that poll to find out whether the instance has
// events. For the same reason a descriptor is never armed a second time.
//
// All methods but waitEvents must be called with the Watcher's lock held.
type poller struct {
	epoll, wake int
	lastID      uint64 // an id is never reused, so that a late report finds no other descriptor
	registered  map[uint64]registration
}

// registration is a descriptor and the function to call when it reports its event.
type registration struct {
	fd     int
	handle func()
}

func newPoller() (*poller, error) {
	epoll, err := sys.EpollCreate()
	if err != nil {
		return nil, fmt.Errorf("make an epoll instance: %w", err)
	}
	p := &poller{epoll: epoll, registered: map[uint64]registration{}}
	if p.wake, err = sys.Event(); err != nil {
		sys.Close(epoll)
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	if _, err = p.registerFD(p.wake, sys.PollIn, func() {}); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// registerFD calls handle, with the Watcher's lock held, as long as fd reports the event. The id is
// never 0.
func (p *poller) registerFD(fd int, event uint32, handle func()) (id uint64, err error) {
	p.lastID++
	if err := sys.EpollAdd(p.epoll, fd, event, p.lastID); err != nil {
		return 0, fmt.Errorf("add to epoll: %w", err)
	}
	p.registered[p.lastID] = registration{fd: fd, handle: handle}
	return p.lastID, nil
}

// unregisterFD must be called before the descriptor is closed. The id 0 is ignored.
func (p *poller) unregisterFD(id uint64) {
	if r, ok := p.registered[id]; ok {
		delete(p.registered, id)
		_ = sys.EpollDelete(p.epoll, r.fd) // cannot fail for a registered descriptor
	}
}

// waitEvents returns the ids of the descriptors that report an event. It blocks until there is one.
func (p *poller) waitEvents(ids []uint64) ([]uint64, error) {
	n, err := sys.EpollWait(p.epoll, ids)
	return ids[:n], err
}

// callHandlers calls the handler of each id. An id that was unregistered meanwhile is skipped.
func (p *poller) callHandlers(ready []uint64) {
	for _, id := range ready {
		if r, ok := p.registered[id]; ok {
			r.handle()
		}
	}
}

// wakeWaiter makes waitEvents return now and at each later call: nobody reads the eventfd.
func (p *poller) wakeWaiter() { _ = sys.Signal(p.wake) } // cannot fail the first time

func (p *poller) close() {
	sys.Close(p.wake)
	sys.Close(p.epoll)
}
