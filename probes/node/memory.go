package node

import (
	"strings"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
)

// forgetAfter is for how long a container that nobody asks for is remembered.
const forgetAfter = 5 * time.Minute

// memory is what earlier looks have found out about one container. It is safe for concurrent use.
type memory struct {
	all   *memories // nil: nothing is kept of the mount table
	id    string
	asked time.Time // guarded by memories
	kept  int       // the same: bytes of the mount table that is kept

	mu       sync.Mutex
	reader   mountinfo.Reader
	resolved map[string]string // where the path of a mount leads over symlinks
	before   map[string]string // the host's mount point of what is at a path
	learnt   map[string]string // paths of mounts that were healthy below a volume, and whose
}

// newMemory is of something that is looked at once.
func newMemory() *memory {
	return &memory{resolved: map[string]string{}, before: map[string]string{}, learnt: map[string]string{}}
}

// memories are those of all containers.
type memories struct {
	mu    sync.Mutex
	byID  map[string]*memory
	kept  int // bytes of mount tables
	swept time.Time
}

// Mount tables are kept from one look to the next, which spares parsing them, as far as they are
// ordinary and these bytes of memory last.
const (
	maxKept    = 64 << 10 // of one container
	maxKeptAll = 8 << 20
)

func newMemories() *memories { return &memories{byID: map[string]*memory{}} }

// of returns the memory of a container.
func (m *memories) of(id string) *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.sweep(now)
	c := m.byID[id]
	if c == nil {
		c = newMemory()
		c.all, c.id = m, id
		m.byID[id] = c
	}
	c.asked = now
	return c
}

func (m *memories) sweep(now time.Time) {
	if now.Sub(m.swept) < forgetAfter/5 {
		return
	}
	m.swept = now
	for id, c := range m.byID {
		if now.Sub(c.asked) > forgetAfter {
			m.kept -= c.kept
			delete(m.byID, id)
		}
	}
}

// keepTable reports whether the table of a container may be kept.
func (m *memories) keepTable(c *memory, bytes int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[c.id] != c {
		return false // nobody would let go of it
	}
	m.kept -= c.kept
	c.kept = 0
	if bytes > maxKept || m.kept+bytes > maxKeptAll {
		return false
	}
	m.kept += bytes
	c.kept = bytes
	return true
}

// read reads the mount table, which never blocks on a file system. The file is closed at once: it
// pins the mount namespace.
func (m *memory) read(p *proc.Process, grow mountinfo.Grow) (*mountinfo.Table, error) {
	f, err := p.Open("mountinfo")
	if err != nil {
		return nil, err
	}
	defer proc.CloseMounts(f)
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.reader.Read(f, grow)
	if err == nil && len(t.Mounts) == 0 {
		err = errNoMounts
	}
	if err != nil {
		m.keepTable(0)
		return nil, err
	}
	m.keepTable(t.Bytes())
	return t, nil
}

// keepTable lets go of a table that may not be kept.
func (m *memory) keepTable(bytes int) {
	if m.all == nil || !m.all.keepTable(m, bytes) {
		m.reader.Forget()
	}
}

// resolve returns where path is known to lead, "" when it is not.
func (m *memory) resolve(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resolved[path]
}

// resolves notes where path leads; "" that it is not known any more.
func (m *memory) resolves(path, point string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if point == "" {
		delete(m.resolved, path)
		return
	}
	m.resolved[path] = strings.Clone(point)
}

// beforeAt returns the host's mount point of what was at path, "" when it is not known.
func (m *memory) beforeAt(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.before[path]
}

func (m *memory) wasAt(path, point string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before[path] = strings.Clone(point)
}

// children returns the paths that were learnt of a volume.
func (m *memory) children(volume string) (paths []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path, of := range m.learnt {
		if of == volume {
			paths = append(paths, path)
		}
	}
	return paths
}

func (m *memory) knows(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.learnt[path]
	return known
}

func (m *memory) learn(path, volume string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.learnt[path]; known || len(m.learnt) < view.MaxSubmounts {
		m.learnt[path] = volume
	}
}
