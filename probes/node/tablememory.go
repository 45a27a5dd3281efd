package node

import (
	"fmt"
	"sync"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// How much memory the mount tables of containers may take during probes. Whoever may mount in a
// container chooses how large its table is, and a probe holds it for as long as its mounts hang.
const (
	ownTableBytes    = 256 << 10 // of each probe: the tables of eight ordinary containers
	sharedTableBytes = 8 << 20   // of all probes together, beyond that
)

// tableMemory is the memory for mount tables that all probes share. It is safe for concurrent use.
//
// A namespace gets at most half of what the others leave, so that neither one tenant nor two can
// use up all of it. A probe never waits for memory: it would wait as long as the mounts of others
// hang.
type tableMemory struct {
	mu          sync.Mutex
	size        int
	used        int
	ofNamespace map[string]int // of used
}

func newTableMemory(size int) *tableMemory {
	return &tableMemory{size: size, ofNamespace: map[string]int{}}
}

// takeBytes takes bytes for the namespace, and reports whether it may have them.
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

// tableReservation is the memory for mount tables that one probe has taken. Only the goroutine of
// the probe uses it.
type tableReservation struct {
	memory      *tableMemory
	namespace   string
	bytes       int // of the tables that the probe holds
	sharedBytes int // of them taken from memory
}

// growBy takes shared memory for what the bytes exceed the probe's own memory by.
func (r *tableReservation) growBy(bytes int) error {
	more := r.bytes + bytes - ownTableBytes - r.sharedBytes
	if more > 0 && !r.memory.takeBytes(r.namespace, more) {
		return fmt.Errorf("%w: with it those of the pod take more than %d KiB, and no more memory is left for its namespace",
			mountinfo.ErrTooLarge, ownTableBytes>>10)
	}
	r.bytes += bytes
	r.sharedBytes += max(more, 0)
	return nil
}

// shrinkBy returns the shared memory of tables that were dropped.
func (r *tableReservation) shrinkBy(bytes int) {
	r.bytes -= bytes
	if less := r.sharedBytes - max(r.bytes-ownTableBytes, 0); less > 0 {
		r.memory.returnBytes(r.namespace, less)
		r.sharedBytes -= less
	}
}
