package worker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// startAfter is the default for how long a batch waits for a worker that is running before it
// takes another. A hundred healthy mounts take some milliseconds: one worker gets through a burst,
// the others are let go, and memory is spent only on what is slow.
const startAfter = 50 * time.Millisecond

// errJoined tells that another batch has taken over the jobs.
var errJoined = errors.New("joined another batch")

// acquireWorker waits for a slot and returns a worker for b that holds it. joiners are the batches
// that run with b; they are set even when there is an error. The error is errJoined, that the
// deadline has passed, or that of starting a worker.
func (p *Pool) acquireWorker(b *batch) (w *workerProcess, joiners []*batch, err error) {
	p.enqueueBatch(b)
	err = p.waitForSlot(b)
	joiners, joined := p.dequeueBatch(b, err == nil)
	switch {
	case joined && err == nil:
		<-p.slots
		return nil, nil, errJoined
	case joined:
		return nil, nil, errJoined
	case err != nil:
		return nil, nil, err
	}
	w, err = p.assignWorker(b)
	return w, joiners, err
}

func (p *Pool) enqueueBatch(b *batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, b)
}

// dequeueBatch takes b out of the queue and, if b starts, the batches that may join it. joined
// reports that b itself has joined another batch meanwhile.
func (p *Pool) dequeueBatch(b *batch, starts bool) (joiners []*batch, joined bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, b)
	if i < 0 {
		return nil, true
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	if starts {
		joiners = p.takeJoiners(b)
	}
	return joiners, false
}

// takeJoiners takes the batches out of the queue that may run with b. When no more workers may be
// parked, none joins, so that checkParkedLimit can judge each target by itself.
func (p *Pool) takeJoiners(b *batch) (joiners []*batch) {
	b.targets = []*proc.Process{b.target}
	if p.parked >= p.opts.MaxParked {
		return nil
	}
	count := len(b.jobs)
	p.waiting = slices.DeleteFunc(p.waiting, func(o *batch) bool {
		if b.exclusive || o.exclusive || !sameCredential(b.as, o.as) || len(b.targets) == check.MaxTargets ||
			count+len(o.jobs) > check.MaxItems || b.size+o.size >= check.MaxBatch {
			return false
		}
		count, b.size, b.targets = count+len(o.jobs), b.size+o.size, append(b.targets, o.target)
		joiners = append(joiners, o)
		close(o.joined)
		return true
	})
	return joiners
}

// waitForSlot returns when b holds a slot, or has joined another batch.
func (p *Pool) waitForSlot(b *batch) error {
	if p.trySlotIfQuiet(b) {
		return nil
	}
	patience := time.NewTimer(p.startAfter)
	defer patience.Stop()
	var slots chan<- struct{} // nil as long as it is worthwhile to wait for a worker
	ctx := b.firstCall().ctx
	for {
		select {
		case <-p.workerIdle:
			if p.trySlotIfQuiet(b) {
				return nil
			}
		case <-patience.C:
			slots = p.slots
		case slots <- struct{}{}:
			return nil
		case <-b.joined:
			return errJoined
		case <-ctx.Done():
			return fmt.Errorf("all %d workers are busy and %d are parked: %w", p.opts.MaxActive, p.Stats().Parked, ctx.Err())
		case <-p.spawner.quit:
			return errClosed
		}
	}
}

// trySlotIfQuiet takes a slot when no worker is running that is worth waiting for.
func (p *Pool) trySlotIfQuiet(b *batch) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return (p.countActive() == 0 || b.exclusive && p.countActive() < keepIdle) && p.trySlot()
}

func (p *Pool) trySlot() bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// assignWorker returns a worker for b, which holds a slot. The slot is given back when there is an
// error.
func (p *Pool) assignWorker(b *batch) (w *workerProcess, err error) {
	if err = p.checkParkedLimit(b); err == nil {
		if w = p.takeIdle(b.as); w == nil {
			w, err = p.startWorker(b.as)
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
