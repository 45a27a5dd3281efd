package node

import (
	"strings"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/view"
)

// dropStateAfter is how long the state of a container is kept after its last probe.
const dropStateAfter = 5 * time.Minute

// containerState is what earlier probes have found out about one container. It is safe for
// concurrent use.
type containerState struct {
	cache     *stateCache // nil: the mount table is not kept
	id        string
	lastUsed  time.Time // guarded by cache
	keptBytes int       // bytes of the mount table that is kept; guarded by cache

	mu         sync.Mutex
	reader     mountinfo.Reader
	resolved   map[string]string // the mount point that a path with symlinks leads to
	hostPoints map[string]string // the host's mount point of the mount at a path
	submounts  map[string]string // paths of mounts below a volume that were healthy -> the volume
}

// newContainerState returns the state of something that is probed once.
func newContainerState() *containerState {
	return &containerState{resolved: map[string]string{}, hostPoints: map[string]string{}, submounts: map[string]string{}}
}

// stateCache holds the states of all containers. It is safe for concurrent use.
type stateCache struct {
	mu        sync.Mutex
	byID      map[string]*containerState
	keptBytes int // bytes of mount tables
	lastSweep time.Time
}

// Mount tables are kept from one probe to the next, which saves parsing them, within these limits.
const (
	maxKeptPerContainer = 64 << 10 // bytes of one container's table
	maxKeptTotal        = 8 << 20
)

func newStateCache() *stateCache { return &stateCache{byID: map[string]*containerState{}} }

// findState returns the state of a container, a new one if there is none.
func (c *stateCache) findState(id string) *containerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.dropIdle(now)
	state := c.byID[id]
	if state == nil {
		state = newContainerState()
		state.cache, state.id = c, id
		c.byID[id] = state
	}
	state.lastUsed = now
	return state
}

// dropIdle drops the states of containers that were not probed for dropStateAfter.
func (c *stateCache) dropIdle(now time.Time) {
	if now.Sub(c.lastSweep) < dropStateAfter/5 {
		return
	}
	c.lastSweep = now
	for id, state := range c.byID {
		if now.Sub(state.lastUsed) > dropStateAfter {
			c.keptBytes -= state.keptBytes
			delete(c.byID, id)
		}
	}
}

// reserveTable reports whether the container's table, which takes this many bytes, may be kept.
func (c *stateCache) reserveTable(state *containerState, bytes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID[state.id] != state {
		return false // dropped from the cache, so that nobody would release the bytes
	}
	c.keptBytes -= state.keptBytes
	state.keptBytes = 0
	if bytes > maxKeptPerContainer || c.keptBytes+bytes > maxKeptTotal {
		return false
	}
	c.keptBytes += bytes
	state.keptBytes = bytes
	return true
}

// readTable reads the mount table, which never blocks on a file system. It closes the file at once,
// because the open file pins the mount namespace.
func (s *containerState) readTable(p *proc.Process, grow mountinfo.Grow) (*mountinfo.Table, error) {
	f, err := p.Open("mountinfo")
	if err != nil {
		return nil, err
	}
	defer proc.CloseMounts(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.reader.Read(f, grow)
	if err == nil && len(t.Mounts) == 0 {
		err = errNoMounts
	}
	if err != nil {
		s.keepTable(0)
		return nil, err
	}
	s.keepTable(t.Bytes())
	return t, nil
}

// keepTable keeps the table for the next reading, or drops it if it may not be kept.
func (s *containerState) keepTable(bytes int) {
	if s.cache == nil || !s.cache.reserveTable(s, bytes) {
		s.reader.Forget()
	}
}

// findResolved returns the mount point that path led to, or "".
func (s *containerState) findResolved(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resolved[path]
}

// setResolved records the mount point that path leads to; "" makes it unknown.
func (s *containerState) setResolved(path, point string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if point == "" {
		delete(s.resolved, path)
		return
	}
	s.resolved[path] = strings.Clone(point)
}

// findHostPoint returns the host's mount point of the mount that was at path, or "".
func (s *containerState) findHostPoint(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hostPoints[path]
}

func (s *containerState) setHostPoint(path, point string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hostPoints[path] = strings.Clone(point)
}

// listSubmounts returns the paths below a volume where mounts were healthy.
func (s *containerState) listSubmounts(volume string) (paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path, of := range s.submounts {
		if of == volume {
			paths = append(paths, path)
		}
	}
	return paths
}

func (s *containerState) isKnownSubmount(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.submounts[path]
	return known
}

func (s *containerState) learnSubmount(path, volume string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.submounts[path]; known || len(s.submounts) < view.MaxSubmounts {
		s.submounts[path] = volume
	}
}
