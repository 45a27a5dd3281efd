package worker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// startAfter is by default for how long a look waits for a worker that is at work before it takes another. A hundred healthy mounts take
// some milliseconds, so that one worker gets through a burst, the others are let go, and memory is spent only on what is slow.
const startAfter = 50 * time.Millisecond

// errAboard tells that another batch has taken the flights along.
var errAboard = errors.New("aboard")

// take waits for a slot and returns a worker for b that holds it, and the batches that are to fly along, with an error, too. The error is
// errAboard, that the asker's time has ended, or that of starting a worker.
func (p *Pool) take(b *batch) (w *child, along []*batch, err error) {
	p.lineUp(b)
	err = p.awaitSlot(b)
	along, aboard := p.leaveLine(b, err == nil)
	switch {
	case aboard && err == nil:
		<-p.slots
		return nil, nil, errAboard
	case aboard:
		return nil, nil, errAboard
	case err != nil:
		return nil, nil, err
	}
	w, err = p.hire(b)
	return w, along, err
}

func (p *Pool) lineUp(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, b)
}

// leaveLine takes b out of the line and, if it flies, what may fly with it. It reports when another batch has done so with b.
func (p *Pool) leaveLine(b *batch, flies bool) (along []*batch, aboard bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, b)
	if i < 0 {
		return nil, true
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	if flies {
		along = p.boarders(b)
	}
	return along, false
}

// boarders takes out of the line what may fly with b. When no place is left among the parked, each flies by itself, so that it can be told
// whose looks are refused.
func (p *Pool) boarders(b *batch) (along []*batch) {
	b.targets = []*proc.Process{b.target}
	if p.parked >= p.opts.MaxParked {
		return nil
	}
	flights := len(b.flights)
	p.waiting = slices.DeleteFunc(p.waiting, func(o *batch) bool {
		if b.alone || o.alone || !sameCredential(b.as, o.as) || len(b.targets) == check.MaxTargets ||
			flights+len(o.flights) > check.MaxItems || b.size+o.size >= check.MaxBatch {
			return false
		}
		flights, b.size, b.targets = flights+len(o.flights), b.size+o.size, append(b.targets, o.target)
		along = append(along, o)
		close(o.aboard)
		return true
	})
	return along
}

// awaitSlot returns when b holds a slot, or is aboard another batch.
func (p *Pool) awaitSlot(b *batch) error {
	if p.begins(b) {
		return nil
	}
	patience := time.NewTimer(p.startAfter)
	defer patience.Stop()
	var slots chan<- struct{} // nil as long as it is worthwhile to wait for a worker
	ctx := b.asker().ctx
	for {
		select {
		case <-p.rested:
			if p.begins(b) {
				return nil
			}
		case <-patience.C:
			slots = p.slots
		case slots <- struct{}{}:
			return nil
		case <-b.aboard:
			return errAboard
		case <-ctx.Done():
			return fmt.Errorf("all %d workers are busy and %d are parked: %w", p.opts.MaxActive, p.Stats().Parked, ctx.Err())
		case <-p.spawner.quit:
			return errClosed
		}
	}
}

// begins takes a slot when no worker is at work that is worth waiting for.
func (p *Pool) begins(b *batch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.active() == 0 || b.alone && p.active() < keepIdle) && p.trySlot()
}

func (p *Pool) trySlot() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// hire returns a worker for b, which holds a slot; that is given back when there is none.
func (p *Pool) hire(b *batch) (w *child, err error) {
	if err = p.refuses(b); err == nil {
		if w = p.takeIdle(b.as); w == nil {
			w, err = p.start(b.as)
		}
	}
	if err != nil {
		<-p.slots
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches[b] = struct{}{}
	return w, nil
}
