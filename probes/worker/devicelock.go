package worker

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

// lockWait is a batch that waits until a job of another batch releases its lock.
type lockWait struct {
	batch    *batch
	holder   *job
	unlocked <-chan struct{} // closed when the holder has released its lock
}

// acquireLocks takes the locks that are free and leaves only the jobs that got theirs in b. It
// returns the others, together with the job that each waits for. Jobs of b for the same device
// share its lock: the worker runs them one after the other.
func (d *dispatcher) acquireLocks(b *batch) (waiting []lockWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := b.jobs
	b.jobs, b.size = nil, 0
	for _, j := range all {
		holder := d.findHolder(j, b)
		if holder == nil {
			d.acquireLock(j)
			j.batch, j.item = b, len(b.jobs)
			b.addJob(j)
			continue
		}
		waiting = addWaiter(waiting, holder, j)
	}
	return waiting
}

// findHolder returns the job of another batch that keeps j from its device, or from the path to
// it.
func (d *dispatcher) findHolder(j *job, b *batch) *job {
	for _, k := range [...]lockKey{j.key, j.pathKey} {
		if holder := d.holders[k]; holder != nil && holder.batch != b {
			return holder
		}
	}
	return nil
}

// acquireLock makes j the holder of its lock, or the next holder after the jobs of the same batch.
func (d *dispatcher) acquireLock(j *job) {
	first := d.holders[j.key]
	if first == nil {
		d.holders[j.key] = j
		return
	}
	first.last.next = j
	first.last = j
}

// addWaiter adds j to the batch that waits for the same holder, or to a new one.
func addWaiter(waiting []lockWait, holder, j *job) []lockWait {
	for i := range waiting {
		if waiting[i].holder == holder {
			waiting[i].batch.addJob(j)
			return waiting
		}
	}
	if holder.unlocked == nil {
		holder.unlocked = make(chan struct{})
	}
	return append(waiting, lockWait{batch: newBatch(j), holder: holder, unlocked: holder.unlocked})
}

// releaseLock passes the lock of j to the next job of its batch, if there is one, and wakes up
// those who wait for j.
func (d *dispatcher) releaseLock(j *job) {
	switch {
	case d.holders[j.key] != j:
	case j.next != nil:
		d.holders[j.key] = j.next
		j.next.last = j.last
	default:
		delete(d.holders, j.key)
	}
	j.next, j.last = nil, j
	if j.unlocked != nil {
		close(j.unlocked)
		j.unlocked = nil
	}
}

// removeFromBatch releases the lock of a job that its worker will not begin.
func (d *dispatcher) removeFromBatch(j *job) {
	d.releaseLock(j)
	j.batch = nil
}

// isSent reports whether a worker has j.
func (j *job) isSent() bool { return j.batch != nil && j.batch.page != nil }

// waitForUnlock waits for the holder to release its lock. It gives up, and reports false, when the
// deadline of the waiting call passes, or as soon as the holder has been running for as long as
// that call would wait.
func (d *dispatcher) waitForUnlock(w lockWait) bool {
	c := w.batch.firstCall()
	patience, cancel := context.WithCancel(c.ctx)
	if begun := d.startTime(w.holder); !begun.IsZero() {
		cancel()
		patience, cancel = context.WithDeadline(c.ctx, begun.Add(c.timeout))
	}
	defer cancel()
	select {
	case <-w.unlocked:
		return true
	case <-patience.Done():
		return false
	}
}

// startTime returns since when j is running; it is zero when j is not.
func (d *dispatcher) startTime(j *job) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	begun, _ := d.findStage(j)
	return begun
}

// findStage returns since when j is running, and which stage it is at. A job runs from the moment
// that the worker begins to walk the path. The time is zero when it does not run.
func (d *dispatcher) findStage(j *job) (time.Time, check.Stage) {
	if j.completed || !j.isSent() {
		return time.Time{}, 0
	}
	at, err := j.batch.page.Progress()
	if err != nil || at.Item != j.item || at.Stage == check.StageRoot {
		return time.Time{}, 0
	}
	return d.epoch.Add(at.Begun), at.Stage
}
