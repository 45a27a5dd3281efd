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
	keepIdle     = 2 // idle workers that are never let go
	tidyInterval = time.Second
	closeTimeout = 5 * time.Second
)

// Pool owns the worker processes and the goroutines that serve them. A worker is idle, active (it
// holds a slot), or parked. It is safe for concurrent use.
type Pool struct {
	opts    Options
	turns   *turns
	slots   chan struct{} // one token for each active look
	spawner *spawner

	startAfter time.Duration

	mu        sync.Mutex
	workers   map[*child]struct{}
	idle      []*child            // the longest idle first
	waiting   []*batch            // for a worker
	batches   map[*batch]struct{} // that a worker has
	rested    chan struct{}       // one waits here when a worker is idle again
	parked    int
	forsaken  int
	undropped check.Privilege
	closed    bool
	running   int           // goroutines that the pool waits for
	drained   chan struct{} // closed when closed is set and running is 0
}

// New checks the options and returns a Pool without workers: they are started on demand. Close it.
func New(opts Options) (*Pool, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		opts:    opts,
		slots:   make(chan struct{}, opts.MaxActive),
		spawner: newSpawner(opts.WorkerPath, opts.Privileged),
		workers: map[*child]struct{}{},
		batches: map[*batch]struct{}{},
		rested:  make(chan struct{}, 1),
		drained: make(chan struct{}),

		startAfter: startAfter,
	}
	p.turns = newTurns(p, opts.ParkAfter)
	p.run(p.spawner.run)
	p.run(p.tidy)
	return p, nil
}

// run starts a goroutine that Close waits for. It reports whether it did: a closed pool starts none.
func (p *Pool) run(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running++
	go func() {
		defer p.ended()
		f()
	}()
	return true
}

func (p *Pool) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.closed && p.running == 0 {
		close(p.drained)
	}
}

// active returns how many slots are held.
func (p *Pool) active() int { return len(p.slots) }

func (p *Pool) takeIdle(as *Credential) *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.idle) - 1; i >= 0; i-- {
		if w := p.idle[i]; sameCredential(w.as, as) {
			p.idle = slices.Delete(p.idle, i, i+1)
			w.users++
			return w
		}
	}
	return nil
}

func (p *Pool) start(as *Credential) (*child, error) {
	s := p.spawner.spawn(as)
	if s.err != nil {
		return nil, s.err
	}
	w := newChild(s, as)
	p.mu.Lock()
	p.workers[w] = struct{}{}
	w.users = 2 // who takes it, and who reads what it says
	p.mu.Unlock()
	if !p.run(func() { p.serve(w) }) {
		p.serve(w) // the pool was closed meanwhile: end it here
		p.mu.Lock()
		defer p.mu.Unlock()
		w.letGo()
		return nil, errClosed
	}
	return w, nil
}

// serve reads what the worker says until it has ended.
func (p *Pool) serve(w *child) {
	if p.isClosed() {
		w.kill()
	}
	w.read(func(m check.Message) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.undropped = m.Undone
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w)
	p.idle = slices.DeleteFunc(p.idle, func(idle *child) bool { return idle == w })
	w.letGo()
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// maxForsaken is how many workers one target may have under way while no more can be parked: one that hangs mounts beyond that
// takes nothing from the others.
const maxForsaken = 2

// refuses returns an error when no more workers may wait for b's target.
func (p *Pool) refuses(b *batch) error {
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
	if under < maxForsaken {
		return nil
	}
	return fmt.Errorf("%w: %d, and %d beyond that look through the same process", errFull, p.parked, under)
}

// park takes an active batch's slot away, since f does not come back, so that others get their turn. It reports whether the batch is
// parked now, which fails when as many as allowed are.
func (p *Pool) park(b *batch, f *flight) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.stuckIn = f.task.Target
	if b.parked || b.forsook {
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

// crowded reports whether somebody may be waiting for a slot.
func (p *Pool) crowded() bool { return len(p.slots) == cap(p.slots) }

// forsake takes an active batch's slot away and ends its worker. If that is inside the kernel it may stay for as long as
// a parked one would.
func (p *Pool) forsake(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b.parked || b.forsook {
		return
	}
	b.forsook = true
	p.forsaken++
	<-p.slots
	b.worker.kill()
}

// leave gives back what a batch held: its slot, or its place among the parked, and its worker, if that is alive. Of
// more idle workers than may be active, the longest idle is let go.
func (p *Pool) leave(b *batch, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.batches, b)
	switch {
	case b.parked:
		p.parked--
	case b.forsook:
		p.forsaken--
	default:
		<-p.slots
	}
	w := b.worker
	w.letGo()
	if _, known := p.workers[w]; alive && known {
		w.idleSince = time.Now()
		p.idle = append(p.idle, w)
		select {
		case p.rested <- struct{}{}:
		default: // somebody is being woken already, and sees them all
		}
	}
	if len(p.idle) > p.opts.MaxActive {
		p.dismiss()
	}
}

// dismiss ends the longest idle worker.
func (p *Pool) dismiss() {
	p.idle[0].kill()
	p.idle = slices.Delete(p.idle, 0, 1)
}

// Stats is a snapshot of the workers, for metrics and health.
type Stats struct {
	Workers   int    // child processes alive, idle and parked ones included
	Idle      int    // workers with nothing to do
	InFlight  int    // workers that look, parked ones included
	Parked    int    // workers without an answer for longer than Options.ParkAfter
	Forsaken  int    // workers that were ended because no more could be parked, but are still inside the kernel
	MaxParked int    // from this many Parked on, mounts without an answer are Unknown
	Undropped string // the privileges that the last worker could not drop; "" when none
}

// Stats returns a snapshot of the workers.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Workers: len(p.workers), Idle: len(p.idle), InFlight: len(p.batches), Parked: p.parked, Forsaken: p.forsaken,
		MaxParked: p.opts.MaxParked, Undropped: p.undropped.String(),
	}
}

// Close kills the workers and waits for them, at most until ctx ends or for five seconds. The error
// says how many are still inside the kernel; they are reaped in the background when they return, and
// Close may be called again to wait for them. Looks under way are answered with an error.
func (p *Pool) Close(ctx context.Context) error {
	p.shut()
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

func (p *Pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.spawner.quit)
	}
	for w := range p.workers {
		w.kill()
	}
}
