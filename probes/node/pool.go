package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

const (
	keepIdle     = 2 // idle workers that are never let go
	tidyInterval = time.Second
	closeTimeout = 5 * time.Second
)

// pool owns the worker processes and the goroutines that serve them. A worker is idle, active (it
// holds a slot), or parked.
type pool struct {
	opts    Options
	slots   chan struct{} // one token for each active look
	spawner *spawner

	mu        sync.Mutex
	workers   map[*worker]struct{}
	idle      []*worker // the longest idle first
	flights   map[*flight]struct{}
	parked    int
	undropped check.Privilege
	closed    bool
	running   int           // goroutines that the pool waits for
	drained   chan struct{} // closed when closed is set and running is 0
}

func newPool(opts Options) *pool {
	p := &pool{
		opts:    opts,
		slots:   make(chan struct{}, opts.MaxActive),
		spawner: newSpawner(opts.WorkerPath),
		workers: map[*worker]struct{}{},
		flights: map[*flight]struct{}{},
		drained: make(chan struct{}),
	}
	p.run(p.spawner.run)
	p.run(p.tidy)
	return p
}

// run starts a goroutine that close waits for. It reports whether it did: a closed pool starts none.
func (p *pool) run(f func()) bool {
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

func (p *pool) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	if p.closed && p.running == 0 {
		close(p.drained)
	}
}

// take waits for a slot and returns a worker that holds it. The error is that of ctx, or of starting.
func (p *pool) take(ctx context.Context) (*worker, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d workers are busy and %d are parked: %w", p.opts.MaxActive, p.stats().Parked, ctx.Err())
	case <-p.spawner.quit:
		return nil, errClosed
	}
	if w := p.takeIdle(); w != nil {
		return w, nil
	}
	w, err := p.start()
	if err != nil {
		<-p.slots
	}
	return w, err
}

func (p *pool) takeIdle() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	if last < 0 {
		return nil
	}
	w := p.idle[last]
	p.idle = p.idle[:last]
	return w
}

func (p *pool) start() (*worker, error) {
	s := p.spawner.spawn()
	if s.err != nil {
		return nil, s.err
	}
	w := newWorker(s)
	p.mu.Lock()
	p.workers[w] = struct{}{}
	p.mu.Unlock()
	if !p.run(func() { p.serve(w) }) {
		p.serve(w) // the pool was closed meanwhile: end it here
		return nil, errClosed
	}
	return w, nil
}

// serve reads what the worker says until it has ended.
func (p *pool) serve(w *worker) {
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
	p.removeIdle(w)
}

func (p *pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *pool) removeIdle(w *worker) {
	for i := range p.idle {
		if p.idle[i] == w {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

// rest puts a worker back that has answered. Its slot is given back apart.
func (p *pool) rest(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, alive := p.workers[w]; alive {
		w.idleSince = time.Now()
		p.idle = append(p.idle, w)
	}
}

// enter counts a look that holds a slot.
func (p *pool) enter(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flights[f] = struct{}{}
}

// park takes an active look's slot away so that others get their turn. It reports whether the look is
// parked now, which fails when as many as allowed are.
func (p *pool) park(f *flight) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, entered := p.flights[f]
	if f.parked || !entered {
		return true
	}
	if p.parked >= p.opts.MaxParked {
		return false
	}
	f.parked = true
	p.parked++
	<-p.slots
	return true
}

// leave gives back what a look held: its slot, or its place among the parked.
func (p *pool) leave(f *flight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flights, f)
	if f.parked {
		p.parked--
		return
	}
	<-p.slots
}

func (p *pool) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Workers: len(p.workers), Idle: len(p.idle), InFlight: len(p.flights), Parked: p.parked,
		MaxParked: p.opts.MaxParked, Undropped: p.undropped.String(),
	}
}

// close kills every worker and waits for the goroutines, at most for closeTimeout.
func (p *pool) close(ctx context.Context) error {
	p.shut()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close prober: %d workers are killed but still inside the kernel, until the file systems "+
			"that they wait for answer or are aborted: %w", p.stats().Workers, ctx.Err())
	}
}

func (p *pool) shut() {
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
