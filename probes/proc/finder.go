package proc

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	// ErrNotFound means that no process belongs to the container.
	ErrNotFound = errors.New("no process of the container found")
	// ErrInvalidID means that the id is not of the form that runtimes write into cgroup paths.
	ErrInvalidID = errors.New("not a container id of 64 lower-case hexadecimal digits")
)

const (
	scanShare    = 20              // a scan of /proc is followed by a pause of that many times its duration,
	maxPause     = 5 * time.Second // but no longer: on a busy node most of the duration is waiting
	releaseAfter = 5 * time.Minute // an unused process is released
)

// pauseAfterScan returns how long to wait after a scan of /proc that took this long. Scans take no
// more than a twentieth of the time then, unless one takes more than 250 ms.
func pauseAfterScan(took time.Duration) time.Duration { return min(scanShare*took, maxPause) }

// Finder finds the processes of containers and holds them. It is safe for concurrent use. A scan
// of /proc reads one or two small files of each process. It is made only for an id that the last
// scan has not seen, and only after a pause (pauseAfterScan).
type Finder struct {
	root string
	now  func() time.Time

	mu       sync.Mutex
	held     map[string]*heldProcess
	index    map[string]candidate
	nextScan time.Time // no scan before that
}

// heldProcess is what is kept of one id that was asked for.
type heldProcess struct {
	process  *Process // nil when it was not found
	lastUsed time.Time
}

// NewFinder returns a Finder for the /proc at root.
func NewFinder(root string) *Finder {
	return &Finder{root: root, now: time.Now, held: map[string]*heldProcess{}}
}

// Find returns the process through which to probe the container's mounts: its first one. The error
// is ErrInvalidID, ErrNotFound, or that of reading /proc. The Finder owns the Process.
func (f *Finder) Find(id string) (*Process, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("container id %q: %w", id, ErrInvalidID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	f.releaseUnused(now)
	h := f.held[id]
	if h == nil {
		h = &heldProcess{}
		f.held[id] = h
	}
	h.lastUsed = now
	if h.process != nil && h.process.Check() == nil {
		return h.process, nil
	}
	h.releaseProcess()
	return f.findProcess(id, h, now)
}

// Close releases every process.
func (f *Finder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.held {
		h.releaseProcess()
	}
	clear(f.held)
}

// findProcess uses the last scan first, and scans again only when that does not help.
func (f *Finder) findProcess(id string, h *heldProcess, now time.Time) (*Process, error) {
	if h.process = f.openCandidate(id); h.process != nil {
		return h.process, nil
	}
	if now.Before(f.nextScan) {
		return nil, fmt.Errorf("container %s: %w under %s a moment ago", id, ErrNotFound, f.root)
	}
	index, err := scanProcesses(f.root)
	if err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, err)
	}
	end := f.now()
	f.index, f.nextScan = index, end.Add(pauseAfterScan(end.Sub(now)))
	if h.process = f.openCandidate(id); h.process != nil {
		return h.process, nil
	}
	return nil, fmt.Errorf("container %s: %w under %s", id, ErrNotFound, f.root)
}

// openCandidate opens the candidate for id and verifies through the held directory that it belongs
// to id, where no other process can take its place. It may be the process that was scanned, or one
// of the same container that has its number since.
func (f *Finder) openCandidate(id string) *Process {
	c, ok := f.index[id]
	if !ok {
		return nil
	}
	p, err := openProcess(f.root, c.pid)
	if err != nil {
		delete(f.index, id)
		return nil
	}
	text, err := p.Read("cgroup")
	if err != nil || findOwner(parseContainerIDs(text), f.isHeld) != id {
		p.Release()
		delete(f.index, id)
		return nil
	}
	return p
}

// isHeld reports whether somebody asks for the container.
func (f *Finder) isHeld(id string) bool { return f.held[id] != nil }

// releaseUnused releases the processes that nobody has asked for recently.
func (f *Finder) releaseUnused(now time.Time) {
	for id, h := range f.held {
		if now.Sub(h.lastUsed) > releaseAfter {
			h.releaseProcess()
			delete(f.held, id)
		}
	}
}

func (h *heldProcess) releaseProcess() {
	if h.process != nil {
		h.process.Release()
		h.process = nil
	}
}
