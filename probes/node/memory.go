package node

import (
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
	mu       sync.Mutex
	asked    time.Time // guarded by memories
	reader   mountinfo.Reader
	resolved map[string]string // where the path of a mount leads over symlinks
	before   map[string]string // the host's mount point of what is at a path
	learnt   map[string]string // paths of mounts that were healthy below a volume, and whose
}

func newMemory() *memory {
	return &memory{resolved: map[string]string{}, before: map[string]string{}, learnt: map[string]string{}}
}

// memories are those of all containers.
type memories struct {
	mu    sync.Mutex
	byID  map[string]*memory
	swept time.Time
}

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
			delete(m.byID, id)
		}
	}
}

// read reads the mount table, which never blocks on a file system. The file is closed at once: it
// pins the mount namespace.
func (m *memory) read(p *proc.Process) (*mountinfo.Table, error) {
	f, err := p.Open("mountinfo")
	if err != nil {
		return nil, err
	}
	defer proc.CloseMounts(f)
	m.mu.Lock()
	defer m.mu.Unlock()
	t, err := m.reader.Read(f)
	if err == nil && len(t.Mounts) == 0 {
		return nil, errNoMounts
	}
	return t, err
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
	m.resolved[path] = point
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
	m.before[path] = point
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
	if _, known := m.learnt[path]; known || len(m.learnt) < view.MaxChildren {
		m.learnt[path] = volume
	}
}
