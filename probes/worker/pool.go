package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

const (
	keepIdle        = 2 // idle workers that are never killed
	cleanupInterval = time.Second
	closeTimeout    = 5 * time.Second
)

// Pool owns the worker processes and the goroutines that serve them. A worker is idle, active (it
// holds a slot), or parked. It is safe for concurrent use.
type Pool struct {
	opts       Options
	dispatcher *dispatcher
	slots      chan struct{} // one token for each active worker
	spawner    *spawner

	startAfter time.Duration

	mu         sync.Mutex
	workers    map[*workerProcess]struct{}
	idle       []*workerProcess    // the longest idle first
	waiting    []*batch            // for a worker
	batches    map[*batch]struct{} // that a worker has
	workerIdle chan struct{}       // holds a value when a worker is idle again
	parked     int
	abandoned  int
	undropped  check.Privilege
	closed     bool
	running    int           // goroutines that the pool waits for
	drained    chan struct{} // closed when closed is set and running is 0
}

// New checks the options and returns a Pool without workers: they are started on demand. Close it.
func New(opts Options) (*Pool, error) {
	opts, err := opts.applyDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		opts:       opts,
		slots:      make(chan struct{}, opts.MaxActive),
		spawner:    newSpawner(opts.WorkerPath, opts.Privileged),
		workers:    map[*workerProcess]struct{}{},
		batches:    map[*batch]struct{}{},
		workerIdle: make(chan struct{}, 1),
		drained:    make(chan struct{}),

		startAfter: startAfter,
	}
	p.dispatcher = newDispatcher(p, opts.ParkAfter)
	p.startGoroutine(p.spawner.serveRequests)
	p.startGoroutine(p.runCleanup)
	return p, nil
}

// startGoroutine starts a goroutine that Close waits for. It reports whether it did: a closed pool
// starts none.
func (p *Pool) startGoroutine(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running++
	go func() {
		defer p.endGoroutine()
		f()
	}()
	return true
}

// endGoroutine is called when a goroutine of startGoroutine has returned.
func (p *Pool) endGoroutine() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.closed && p.running == 0 {
		close(p.drained)
	}
}

// countActive returns how many slots are held.
func (p *Pool) countActive() int { return len(p.slots) }

// takeIdle returns the worker of that user that became idle last, or nil.
func (p *Pool) takeIdle(as *Credential) *workerProcess {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if w := p.idle[i]; sameCredential(w.as, as) {
			p.idle = slices.Delete(p.idle, i, i+1)
			w.refs++
			return w
		}
	}
	return nil
}

// startWorker starts a worker and the goroutine that reads its messages.
func (p *Pool) startWorker(as *Credential) (*workerProcess, error) {
	s := p.spawner.requestWorker(as)
	if s.err != nil {
		return nil, s.err
	}
	w := newWorkerProcess(s, as)
	p.mu.Lock()
	p.workers[w] = struct{}{}
	w.refs = 2 // the batch that takes it, and serveWorker
	p.mu.Unlock()
	if !p.startGoroutine(func() { p.serveWorker(w) }) {
		p.serveWorker(w) // the pool was closed meanwhile: end it here
		p.mu.Lock()
		defer p.mu.Unlock()
		w.unref()
		return nil, errClosed
	}
	return w, nil
}

// serveWorker reads what the worker says until it has ended.
func (p *Pool) serveWorker(w *workerProcess) {
	if p.isClosed() {
		w.killProcess()
	}
	w.readMessages(func(m check.Message) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.undropped = m.Undone
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w)
	p.idle = slices.DeleteFunc(p.idle, func(idle *workerProcess) bool { return idle == w })
	w.unref()
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// maxPerTargetWhenFull is how many workers one target may use while no more can be parked: a
// target that hangs mounts beyond that takes nothing from the others.
const maxPerTargetWhenFull = 2

// checkParkedLimit returns an error when no more workers may wait for the target of b.
func (p *Pool) checkParkedLimit(b *batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked < p.opts.MaxParked {
		return nil
	}
	under := 0
	for other := range p.batches {
		if !other.parked && slices.Contains(other.targets, b.target) {
			under++
		}
	}
	if under < maxPerTargetWhenFull {
		return nil
	}
	return fmt.Errorf("%w: %d, and %d beyond that look through the same process", errFull, p.parked, under)
}

// parkBatch takes the slot away from an active batch whose job j does not return, so that others
// can have it. It reports whether the batch has no slot any more; it fails when as many are parked
// as allowed.
func (p *Pool) parkBatch(b *batch, j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.stuckTarget = j.task.Target
	if b.parked || b.abandoned {
		return true
	}
	if p.parked >= p.opts.MaxParked {
		return false
	}
	b.parked = true
	p.parked++
	<-p.slots
	return true
}

// isSaturated reports whether somebody may be waiting for a slot.
func (p *Pool) isSaturated() bool { return len(p.slots) == cap(p.slots) }

// abandonWorker takes the slot away from an active batch and kills its worker. A worker inside the
// kernel may stay there for as long as a parked one would.
func (p *Pool) abandonWorker(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.parked || b.abandoned {
		return
	}
	b.abandoned = true
	p.abandoned++
	<-p.slots
	b.worker.killProcess()
}

// releaseBatch gives back what a batch held: its slot, or its place among the parked, and its
// worker, if that is alive. Of more idle workers than may be active, the longest idle is killed.
func (p *Pool) releaseBatch(b *batch, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.batches, b)
	switch {
	case b.parked:
		p.parked--
	case b.abandoned:
		p.abandoned--
	default:
		<-p.slots
	}
	w := b.worker
	w.unref()
	if _, known := p.workers[w]; alive && known {
		w.idleSince = time.Now()
		p.idle = append(p.idle, w)
		select {
		case p.workerIdle <- struct{}{}:
		default: // somebody is being woken already, and sees all idle workers
		}
	}
	if len(p.idle) > p.opts.MaxActive {
		p.killLongestIdle()
	}
}

// killLongestIdle ends the worker that has been idle for the longest time.
func (p *Pool) killLongestIdle() {
	p.idle[0].killProcess()
	p.idle = slices.Delete(p.idle, 0, 1)
}

// Stats is a snapshot of the workers, for metrics and health.
type Stats struct {
	Workers   int    // child processes alive, idle and parked ones included
	Idle      int    // workers with nothing to do
	InFlight  int    // workers that run a batch, parked ones included
	Parked    int    // workers without an answer for longer than Options.ParkAfter
	Forsaken  int    // workers that were killed beyond MaxParked, and are still in the kernel
	MaxParked int    // from this many Parked on, mounts without an answer are Unknown
	Undropped string // the privileges that the last worker could not drop; "" when none
}

// Stats returns a snapshot of the workers.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Workers: len(p.workers), Idle: len(p.idle), InFlight: len(p.batches), Parked: p.parked, Forsaken: p.abandoned,
		MaxParked: p.opts.MaxParked, Undropped: p.undropped.String(),
	}
}

// Close kills the workers and waits for them, at most until ctx ends or for five seconds. The
// error says how many are still inside the kernel; they are reaped in the background when they
// return, and Close may be called again to wait for them. Probes under way are answered with an
// error.
func (p *Pool) Close(ctx context.Context) error {
	p.killAll()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the pool: %d workers are killed but still inside the kernel, until the file systems "+
			"that they wait for answer or are aborted: %w", p.Stats().Workers, ctx.Err())
	}
}

// killAll closes the pool and kills its workers.
func (p *Pool) killAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.spawner.quit)
	}
	for w := range p.workers {
		w.killProcess()
	}
}

// Path returns the worker binary.
func (p *Pool) Path() string { return p.spawner.path }
