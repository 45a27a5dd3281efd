package proc

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrNotFound tells that no process belongs to the container.
	ErrNotFound = errors.New("no process of the container found")
	// ErrInvalidID tells that the id is not of the form that runtimes write into cgroup paths.
	ErrInvalidID = errors.New("not a container id of 64 lower-case hexadecimal digits")
)

const (
	scanShare   = 20              // a scan of /proc is followed by a rest of that many times its duration,
	longestRest = 5 * time.Second // but no longer: on a busy node most of the duration is waiting
	forgetAfter = 5 * time.Minute // a container that nobody asked for is let go
)

// Rest returns how long to rest after a scan of /proc that took so long: it takes no more than a twentieth of the time then, unless
// it took more than 250 ms.
func Rest(took time.Duration) time.Duration { return min(scanShare*took, longestRest) }

// Finder finds the processes of containers and remembers them. It is safe for concurrent use. A scan of
// /proc reads one or two small files a process; it is made only for an id that the last scan has
// not seen, and takes no more than a twentieth of the time, whatever is asked, unless it takes more than 250 ms.
type Finder struct {
	root string
	now  func() time.Time

	mu     sync.Mutex
	held   map[string]*holding
	index  map[string]candidate
	rested time.Time // no scan before that
}

// holding is what is remembered of one id that was asked for.
type holding struct {
	process *Process // nil when it was not found
	asked   time.Time
}

// NewFinder returns a Finder for the /proc at root.
func NewFinder(root string) *Finder {
	return &Finder{root: root, now: time.Now, held: map[string]*holding{}}
}

// Find returns the process to look through at the container's mounts: its first one. The error is
// ErrInvalidID, ErrNotFound, or that of reading /proc. The Finder owns the Process.
func (f *Finder) Find(id string) (*Process, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("container id %q: %w", id, ErrInvalidID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.forget(now)
	h := f.held[id]
	if h == nil {
		h = &holding{}
		f.held[id] = h
	}
	h.asked = now
	if h.process != nil && h.process.Check() == nil {
		return h.process, nil
	}
	h.release()
	return f.resolve(id, h, now)
}

// Close lets every process go.
func (f *Finder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.held {
		h.release()
	}
	clear(f.held)
}

// resolve looks into the last scan first and scans again only when that does not help.
func (f *Finder) resolve(id string, h *holding, now time.Time) (*Process, error) {
	if h.process = f.take(id); h.process != nil {
		return h.process, nil
	}
	if now.Before(f.rested) {
		return nil, fmt.Errorf("container %s: %w under %s a moment ago", id, ErrNotFound, f.root)
	}
	index, err := scan(f.root)
	if err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, err)
	}
	end := f.now()
	f.index, f.rested = index, end.Add(Rest(end.Sub(now)))
	if h.process = f.take(id); h.process != nil {
		return h.process, nil
	}
	return nil, fmt.Errorf("container %s: %w under %s", id, ErrNotFound, f.root)
}

// take opens the candidate for id and verifies through the held folder, where no other process can
// slip in, that it belongs to id: the one that was scanned, or one that has its number since and will do as well.
func (f *Finder) take(id string) *Process {
	c, ok := f.index[id]
	if !ok {
		return nil
	}
	p, err := open(f.root, c.pid)
	if err != nil {
		delete(f.index, id)
		return nil
	}
	text, err := p.Read("cgroup")
	if err != nil || owner(claims(text), f.known) != id {
		p.Release()
		delete(f.index, id)
		return nil
	}
	return p
}

// known reports whether somebody asks for the container.
func (f *Finder) known(id string) bool { return f.held[id] != nil }

func (f *Finder) forget(now time.Time) {
	for id, h := range f.held {
		if now.Sub(h.asked) > forgetAfter {
			h.release()
			delete(f.held, id)
		}
	}
}

func (h *holding) release() {
	if h.process != nil {
		h.process.Release()
		h.process = nil
	}
}
