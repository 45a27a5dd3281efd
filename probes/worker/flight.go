package worker

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// key is what only one flight at a time may have: a device, or the way to a path through one target.
type key struct {
	device string
	target uint64 // its serial
	path   string
}

// flight is one task that is under way or waits for its turn or for a worker.
type flight struct {
	task Task
	way  key // the way to the path

	// guarded by turns.mu
	asker    *asker
	index    int           // of its result
	target   int           // which of its batch's targets; set when it goes aboard
	reported bool          // the asker has its result
	key      key           // what it holds or waits for: the device, or the way
	left     chan struct{} // closed when it does not hold key any more; nil until somebody waits for that
	landed   bool          // it holds nothing any more, for good
	batch    *batch        // with which it flies, or will; nil while it has no turn
	item     int           // its place there
	next     *flight       // in the same batch for the same key: takes over the turn
	last     *flight       // of those that follow; itself when none does
}

func newFlight(a *asker, index int, task Task) *flight {
	f := &flight{task: task, asker: a, index: index}
	f.way = key{target: task.Target.Serial, path: task.Request.Path}
	f.key, f.last = f.goal(), f
	return f
}

// goal is what f needs to reach its file system.
func (f *flight) goal() key {
	if f.task.Device == "" {
		return f.way
	}
	return key{device: f.task.Device}
}

// batch is a list of flights that one worker makes one after the other. Until a worker has it they are those of one asker through one
// target; then others that wait for a worker may go aboard.
type batch struct {
	target  *proc.Process
	as      *Credential
	flights []*flight
	size    int           // in bytes, encoded
	alone   bool          // one of its like has kept others waiting: it takes nobody along
	aboard  chan struct{} // closed when another batch has taken the flights along

	targets []*proc.Process // guarded by the pool until it has a worker: through which the flights go
	askers  []*asker        // set when all are aboard

	worker  *child        // set before asked
	asked   time.Time     // by the goroutine that flies it
	arrived int           // how many flights have landed; of the same goroutine
	board   *check.Board  // guarded by turns.mu; nil before a worker is asked and after it has answered
	parked  bool          // guarded by the pool, as are the next two
	stuckIn *proc.Process // with parked: through which target it goes when it does not come back
	forsook bool          // its worker was ended, which may take until the file system answers
	full    error         // guarded by turns.mu: why nobody waits for it any more
}

func newBatch(flights ...*flight) *batch {
	b := &batch{aboard: make(chan struct{})}
	for _, f := range flights {
		b.add(f)
	}
	return b
}

// fits reports whether f may fly with b.
func (b *batch) fits(f *flight) bool {
	return b.target == f.task.Target && sameCredential(b.as, f.task.As) &&
		len(b.flights) < check.MaxItems && b.size+f.task.Request.Size() < check.MaxBatch
}

func (b *batch) add(f *flight) {
	b.target, b.as = f.task.Target, f.task.As
	b.size += f.task.Request.Size()
	b.flights = append(b.flights, f)
}

// asker is that of a batch which no worker has yet.
func (b *batch) asker() *asker { return b.flights[0].asker }

func (b *batch) requests() []check.Request {
	requests := make([]check.Request, len(b.flights))
	for i, f := range b.flights {
		requests[i] = f.task.Request
		requests[i].Target = uint8(f.target) //nolint:gosec // below check.MaxTargets
	}
	return requests
}

func sameCredential(a, b *Credential) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// asker is a call of Look, which waits until all of its results are there.
type asker struct {
	ctx     context.Context // ends with the timeout, or when the look is called off
	timeout time.Duration
	results []Result
	pending int           // guarded by turns.mu
	done    chan struct{} // closed when pending is 0
}
