package worker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// dispatcher runs batches. It lets one job at a time reach a device, and remembers the jobs that
// do not return, so that nobody else is sent there.
type dispatcher struct {
	pool      *Pool
	parkAfter time.Duration
	cutAfter  time.Duration
	epoch     time.Time // when CLOCK_MONOTONIC was 0

	mu      sync.Mutex
	holders map[lockKey]*job // who holds each lock
}

// cutAfter is how long one item may keep the rest of its batch waiting. It is more than any
// healthy file system needs, even where all processors are busy (docs/adr/0009), and little beside
// the timeout of a probe.
const cutAfter = 100 * time.Millisecond

func newDispatcher(p *Pool, parkAfter time.Duration) *dispatcher {
	return &dispatcher{
		pool: p, parkAfter: parkAfter, cutAfter: min(cutAfter, parkAfter), epoch: time.Now().Add(-sys.Monotonic()), holders: map[lockKey]*job{},
	}
}

// submitBatch is dispatchBatch in a goroutine of its own.
func (d *dispatcher) submitBatch(b *batch) {
	if !d.pool.startGoroutine(func() { d.dispatchBatch(b) }) {
		d.failJobs(b.jobs, errClosed)
	}
}

// dispatchBatch starts the jobs whose locks are free, and dispatches the others when their locks
// are released. Every job gets a result. It waits for a worker, at most until the deadline of the
// call.
func (d *dispatcher) dispatchBatch(b *batch) {
	for _, w := range d.acquireLocks(b) {
		if !d.pool.startGoroutine(func() { d.dispatchAfter(w) }) {
			d.failJobs(w.batch.jobs, errClosed)
		}
	}
	if len(b.jobs) > 0 {
		d.startBatch(b)
	}
}

// dispatchAfter dispatches the waiting batch once its locks are released, or fails it.
func (d *dispatcher) dispatchAfter(w lockWait) {
	if d.waitForUnlock(w) {
		d.dispatchBatch(w.batch)
		return
	}
	d.failUnanswered(w.batch.jobs, w.holder)
}

// startBatch sends b to a worker, together with the other batches that wait for one. Pods are
// probed in groups (docs/adr/0009), and one message for a whole group wakes up a worker once.
func (d *dispatcher) startBatch(b *batch) {
	w, joiners, err := d.pool.acquireWorker(b)
	switch {
	case errors.Is(err, errJoined):
		return
	case err != nil:
		for _, part := range append(joiners, b) {
			d.failJobs(part.jobs, err)
		}
		return
	}
	dirs := d.mergeBatches(b, joiners)
	defer sys.CloseAll(dirs)
	b.worker, b.sentAt = w, time.Now()
	if len(dirs) == 0 {
		d.pool.releaseBatch(b, true)
		return
	}
	w.page.Reset()
	d.mu.Lock()
	b.page = w.page
	d.mu.Unlock()
	if err := w.sendBatch(dirs, b.buildRequests()); err != nil {
		w.killProcess()
		d.completeBatch(b, nil, fmt.Errorf("ask worker: %w", err))
		return
	}
	if !d.pool.startGoroutine(func() { d.runBatch(b) }) {
		d.completeBatch(b, nil, errClosed)
	}
}

// mergeBatches appends the jobs of the joiners to those of b. It returns one descriptor for each
// target, for the worker. Jobs through a target that is gone have failed when it returns.
func (d *dispatcher) mergeBatches(b *batch, joiners []*batch) (dirs []int) {
	parts := append([]*batch{{target: b.target, jobs: b.jobs}}, joiners...)
	b.jobs = nil
	for _, part := range parts {
		dir, err := part.target.Duplicate()
		if err != nil {
			d.failJobs(part.jobs, fmt.Errorf("ask worker: %w", err))
			continue
		}
		d.appendJobs(b, part, len(dirs))
		dirs = append(dirs, dir)
	}
	return dirs
}

// appendJobs moves the jobs of a part into b. target is the index of their target in the batch.
func (d *dispatcher) appendJobs(b, part *batch, target int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b.calls = append(b.calls, part.firstCall())
	for _, j := range part.jobs {
		j.targetIndex, j.batch, j.item = target, b, len(b.jobs)
		b.jobs = append(b.jobs, j)
	}
}
