package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
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
	scanInterval = time.Second     // between two scans of /proc, whatever is asked
	forgetAfter  = 5 * time.Minute // a container that nobody asked for is let go
)

// Finder finds the processes of containers and remembers them. It is safe for concurrent use. A scan of
// /proc reads one or two small files a process; it is made only for an id that the last scan has
// not seen, and at most once a second.
type Finder struct {
	root string
	now  func() time.Time

	mu      sync.Mutex
	held    map[string]*holding
	index   map[string]candidate
	scanned time.Time
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
	if !f.scanned.IsZero() && now.Sub(f.scanned) < scanInterval {
		return nil, fmt.Errorf("container %s: %w in a scan of %s within the last second", id, ErrNotFound, f.root)
	}
	index, err := scan(f.root)
	if err != nil {
		return nil, fmt.Errorf("find container %s: %w", id, err)
	}
	f.index, f.scanned = index, now
	if h.process = f.take(id); h.process != nil {
		return h.process, nil
	}
	return nil, fmt.Errorf("container %s: %w under %s", id, ErrNotFound, f.root)
}

// take opens the candidate for id and verifies through the held folder, where no other process can
// slip in, that it is still the one that was scanned and still belongs to id.
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
	if err != nil || p.Start != c.start || owner(claims(text), f.known) != id {
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

// candidate is a process that may stand for a container id.
type candidate struct {
	pid           int
	start         uint64
	before, after int // ids outside and inside of this one in its cgroup path
}

// better prefers the id that is nested least, which a container cannot claim from inside another one;
// then the process directly in the container; then the oldest, which is the container's first.
func (c candidate) better(d candidate) bool {
	switch {
	case c.before != d.before:
		return c.before < d.before
	case c.after != d.after:
		return c.after < d.after
	case c.start != d.start:
		return c.start < d.start
	default:
		return c.pid < d.pid
	}
}

// scan reads the cgroups of all processes and returns the best candidate for each id it meets.
func scan(root string) (map[string]candidate, error) {
	names, err := readNames(root)
	if err != nil {
		return nil, fmt.Errorf("scan processes: %w", err)
	}
	index := map[string]candidate{}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			consider(index, root, pid)
		}
	}
	return index, nil
}

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir) //nolint:gosec // the root of /proc is the operator's choice
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	return f.Readdirnames(-1)
}

// consider enters one process. A process that exits meanwhile, or monitors a container, is nobody's.
func consider(index map[string]candidate, root string, pid int) {
	folder := root + "/" + strconv.Itoa(pid) + "/"
	text, err := os.ReadFile(folder + "cgroup") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	lines := claims(string(text))
	if len(lines) == 0 {
		return
	}
	text, err = os.ReadFile(folder + "stat") //nolint:gosec // a file of /proc
	if err != nil {
		return
	}
	st, err := parseStat(string(text))
	if err != nil || st.comm == "conmon" {
		return
	}
	for _, ids := range lines {
		for i, id := range ids {
			c := candidate{pid: pid, start: st.start, before: i, after: len(ids) - 1 - i}
			if old, ok := index[id]; !ok || c.better(old) {
				index[id] = c
			}
		}
	}
}
