package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

var errProtocol = errors.New("the worker has written what it never should; it was ended")

// runBatch follows b until its worker is done, for as long as that takes: a late answer shows that
// the mount has recovered.
func (d *dispatcher) runBatch(b *batch) {
	timer := time.NewTimer(d.cutAfter)
	defer timer.Stop()
	expired, stop := b.watchDeadlines()
	defer stop()
	for {
		select {
		case _, alive := <-b.worker.messages:
			d.endBatch(b, alive)
			return
		case <-timer.C:
			if next := d.pollBatch(b); next > 0 {
				timer.Reset(next)
			}
		case <-expired:
			d.pollBatch(b)
			d.reportOverdue(b)
		}
	}
}

// watchDeadlines returns a channel that receives a value for each call whose deadline passes,
// until stop is called.
func (b *batch) watchDeadlines() (expired <-chan struct{}, stop func()) {
	ended := make(chan struct{}, len(b.calls))
	stops := make([]func() bool, len(b.calls))
	for i, c := range b.calls {
		stops[i] = context.AfterFunc(c.ctx, func() { ended <- struct{}{} })
	}
	return ended, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// pollBatch completes the jobs of b that are answered. When one job keeps the later ones waiting
// it cuts those off and resubmits them, and it parks a job that takes too long. It returns after
// how long it wants to be called again; 0 is never.
func (d *dispatcher) pollBatch(b *batch) time.Duration {
	at, err := b.worker.page.Progress()
	if err == nil && at.Item == len(b.jobs) { // it is about to say that it is done
		return d.cutAfter
	}
	if err == nil {
		err = d.completeBefore(b, at.Item)
	}
	if err != nil {
		b.worker.killProcess() // so that runBatch ends the batch
		return 0
	}
	if at.Item < 0 {
		return d.cutAfter
	}
	age := time.Since(d.epoch) - at.Begun
	if at.Item < len(b.jobs)-1 {
		if age < d.cutAfter && time.Since(b.sentAt) < d.parkAfter && !d.hasOverdueJob(b) {
			return d.cutAfter
		}
		if !b.worker.page.Cut(at) {
			return d.pollBatch(b) // the worker has gone on
		}
		d.resubmitJobs(d.cutTail(b, at.Item))
	}
	if age < d.parkAfter {
		return d.parkAfter - age
	}
	if !d.pool.parkBatch(b, b.jobs[at.Item]) {
		if d.pool.isSaturated() {
			d.abandonBatch(b)
		}
		return d.parkAfter
	}
	d.detachFromDevice(b.jobs[at.Item], at.Stage)
	return 0
}

// completeBefore completes the jobs of b before item, which the worker has answered.
func (d *dispatcher) completeBefore(b *batch, item int) error {
	if item > len(b.jobs) {
		return errProtocol
	}
	if item <= b.completed {
		return nil
	}
	answers, err := b.readAnswers(item)
	jobs := b.jobs[b.completed : b.completed+len(answers)]
	b.completed += len(answers)
	d.completeJobs(jobs, func(i int) Result { return Result{Answer: answers[i]} })
	return err
}

// readAnswers returns the answers from the first job that is not completed up to the one before
// item. It stops at the first that is malformed.
func (b *batch) readAnswers(item int) (answers []check.Answer, err error) {
	answers = make([]check.Answer, 0, item-b.completed)
	for i := b.completed; i < item; i++ {
		a, err := b.worker.page.Answer(i)
		if err != nil {
			return answers, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// cutTail takes the jobs after item out of b. The worker will not begin them.
func (d *dispatcher) cutTail(b *batch, item int) (rest []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rest = b.jobs[item+1:]
	b.jobs = b.jobs[:item+1]
	stuck := b.jobs[item]
	stuck.next, stuck.last = nil, stuck
	for _, j := range rest {
		d.removeFromBatch(j)
	}
	return rest
}

// resubmitJobs submits jobs that hold no lock, unless the deadline of their call has passed. Each
// device gets a batch of its own, so that none waits for another: any of them may be the next that
// hangs.
func (d *dispatcher) resubmitJobs(jobs []*job) {
	type group struct {
		call *call
		key  lockKey
	}
	groups := map[group]*batch{}
	for _, j := range jobs {
		g := group{j.call, j.key}
		switch {
		case j.call.ctx.Err() != nil:
			d.failJobs([]*job{j}, errLockTimeout)
		case groups[g] == nil:
			groups[g] = newBatch(j)
			groups[g].exclusive = true
		default:
			groups[g].addJob(j)
		}
	}
	for _, b := range groups {
		d.submitBatch(b)
	}
}

// detachFromDevice releases the device when j is stuck on the path to it: that says nothing about
// the device, which other jobs reach on other paths. j keeps the lock of its path. Should it get
// through, it may be a second job on the device.
func (d *dispatcher) detachFromDevice(j *job, at check.Stage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at > check.StageOpen || j.key == j.pathKey {
		return
	}
	d.releaseLock(j)
	j.key = j.pathKey
	if d.holders[j.key] == nil {
		d.holders[j.key] = j
	}
}

// endBatch ends b after its worker has said that it is done, or has exited (not alive).
func (d *dispatcher) endBatch(b *batch, alive bool) {
	at, err := b.worker.page.Progress()
	if err == nil {
		err = d.endBatchAt(b, at, alive)
	}
	if err != nil {
		b.worker.killProcess()
		d.completeBatch(b, nil, err)
	}
}

// endBatchAt ends b at the progress that its worker has written. An error means that it is not
// completed yet, and the worker is of no use any more.
func (d *dispatcher) endBatchAt(b *batch, at check.Progress, alive bool) error {
	end := len(b.jobs)
	finished := at.Item == end || at.Cut && at.Item == end-1
	switch {
	case !alive:
		return d.handleCrash(b, at)
	case !finished:
		return errProtocol
	}
	answers, err := b.readAnswers(end)
	if err != nil {
		return err
	}
	d.completeBatch(b, answers, nil)
	return nil
}

// handleCrash completes what was answered, resubmits the later jobs, and returns the error of the
// job that was running.
func (d *dispatcher) handleCrash(b *batch, at check.Progress) error {
	if err := d.completeBefore(b, at.Item); err != nil {
		return err
	}
	if at.Item >= 0 && at.Item < len(b.jobs)-1 {
		d.resubmitJobs(d.cutTail(b, at.Item))
	}
	return fmt.Errorf("the worker ended during the look: %s", b.worker.exit)
}

// completeBatch gives the worker back, which is alive unless there is an error, and completes the
// remaining jobs. The worker is free for the next call before this one gets its results.
func (d *dispatcher) completeBatch(b *batch, answers []check.Answer, err error) {
	d.mu.Lock()
	b.page = nil
	d.mu.Unlock()
	d.pool.releaseBatch(b, err == nil)
	d.completeJobs(b.jobs[b.completed:], func(i int) Result {
		if err != nil {
			return Result{Err: err}
		}
		return Result{Answer: answers[i]}
	})
}

// hasOverdueJob reports whether the deadline of a call has passed that waits for a job of b.
func (d *dispatcher) hasOverdueJob(b *batch) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(b.jobs[b.completed:], (*job).isOverdue)
}

// isOverdue reports whether a call waits for j whose deadline has passed.
func (j *job) isOverdue() bool { return !j.reported && j.call.ctx.Err() != nil }

// reportOverdue sets the results of the jobs of b that have no answer when the deadline of their
// call passes. When no more workers may be parked, the batch is abandoned: it would keep the slot
// that others need.
func (d *dispatcher) reportOverdue(b *batch) {
	if !d.hasOverdueJob(b) {
		return
	}
	if !d.pool.parkBatch(b, b.jobs[b.completed]) {
		d.abandonBatch(b)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range b.jobs[b.completed:] {
		if j.isOverdue() {
			setResult(j, d.unansweredResult(j.call, j))
		}
	}
}

// abandonBatch fails the jobs of b and kills its worker. While that is inside the kernel the locks
// stay held, so that nobody else is sent to the same place.
func (d *dispatcher) abandonBatch(b *batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b.abandonErr = fmt.Errorf("no answer, and %w: %d", errFull, d.pool.opts.MaxParked)
	for _, j := range b.jobs[b.completed:] {
		setResult(j, Result{Err: b.abandonErr})
	}
	d.pool.abandonWorker(b)
}
