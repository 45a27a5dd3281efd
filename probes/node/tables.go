package node

import (
	"fmt"
	"sync"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// How much memory the mount tables of containers may take while they are looked through. Whoever
// may mount in a container chooses how large its table is, and a look holds it for as long as its
// mounts hang.
const (
	ownTableBytes    = 256 << 10 // that each look has: the tables of eight ordinary containers
	sharedTableBytes = 8 << 20   // that all looks have together beyond that
)

// tableMemory is the memory for mount tables that looks share. It is safe for concurrent use.
//
// A namespace gets at most half of what the others leave it, so that no tenant uses up all of it,
// nor do two. Nobody waits for memory: that would be for as long as the mounts of others hang.
type tableMemory struct {
	mu          sync.Mutex
	size        int
	used        int
	ofNamespace map[string]int // of used
}

func newTableMemory(size int) *tableMemory {
	return &tableMemory{size: size, ofNamespace: map[string]int{}}
}

// takeBytes reports whether the namespace may have so many bytes more.
func (t *tableMemory) takeBytes(namespace string, bytes int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	others := t.used - t.ofNamespace[namespace]
	if t.ofNamespace[namespace]+bytes > (t.size-others)/2 {
		return false
	}
	t.used += bytes
	t.ofNamespace[namespace] += bytes
	return true
}

func (t *tableMemory) returnBytes(namespace string, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.used -= bytes
	t.ofNamespace[namespace] -= bytes
	if t.ofNamespace[namespace] == 0 {
		delete(t.ofNamespace, namespace)
	}
}

// tableShare is what one look has of it. It belongs to the look's goroutine.
type tableShare struct {
	tables    *tableMemory
	namespace string
	bytes     int // of the tables that the look holds
	taken     int // of the memory that is shared
}

// growBy takes what the bytes more exceed the look's own by.
func (s *tableShare) growBy(bytes int) error {
	more := s.bytes + bytes - ownTableBytes - s.taken
	if more > 0 && !s.tables.takeBytes(s.namespace, more) {
		return fmt.Errorf("%w: with it those of the pod take more than %d KiB, and no more memory is left for its namespace",
			mountinfo.ErrTooLarge, ownTableBytes>>10)
	}
	s.bytes += bytes
	s.taken += max(more, 0)
	return nil
}

// shrinkBy gives back what tables took that are let go.
func (s *tableShare) shrinkBy(bytes int) {
	s.bytes -= bytes
	if less := s.taken - max(s.bytes-ownTableBytes, 0); less > 0 {
		s.tables.returnBytes(s.namespace, less)
		s.taken -= less
	}
}
