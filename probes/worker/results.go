package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	errLockTimeout = errors.New("no turn within the timeout")
	errFull        = errors.New("too many looks are parked without an answer")
	errNotStarted  = errors.New("the worker did not begin in time; the node may be overloaded")
)

// completeJobs releases the locks of the jobs and sets their results.
func (d *dispatcher) completeJobs(jobs []*job, result func(i int) Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, j := range jobs {
		j.completed = true
		d.releaseLock(j)
		setResult(j, result(i))
	}
}

// failJobs completes jobs of which nothing is known.
func (d *dispatcher) failJobs(jobs []*job, err error) {
	d.completeJobs(jobs, func(int) Result { return Result{Err: err} })
}

// setResult hands the result of j to its call, unless the call has one already: a job that was
// reported as overdue completes later.
func setResult(j *job, r Result) {
	if j.reported {
		return
	}
	j.reported = true
	r.At = time.Now()
	j.call.results[j.index] = r
	j.call.pending--
	if j.call.pending == 0 {
		close(j.call.done)
	}
}

// failUnanswered completes jobs whose lock was not released in time, with what is known of the
// holder.
func (d *dispatcher) failUnanswered(jobs []*job, holder *job) {
	d.mu.Lock()
	r := d.unansweredResult(jobs[0].call, holder)
	d.mu.Unlock()
	d.completeJobs(jobs, func(int) Result { return r })
}

// unansweredResult is the result of a call that has waited for j without an answer. It is a hang
// only when the file system itself had at least half of the timeout to answer: the rest may have
// passed in waiting for a lock or a worker.
func (d *dispatcher) unansweredResult(c *call, j *job) Result {
	begun, stage := d.findStage(j)
	switch {
	case j.batch != nil && j.batch.abandonErr != nil:
		return Result{Err: j.batch.abandonErr}
	case errors.Is(c.ctx.Err(), context.Canceled):
		return Result{Err: fmt.Errorf("the look was called off: %w", c.ctx.Err())}
	case begun.IsZero() && j.isSent():
		return Result{Err: errNotStarted}
	case begun.IsZero() || time.Since(begun) < c.timeout/2:
		return Result{Err: errLockTimeout}
	default:
		return Result{Since: begun, Stage: stage}
	}
}
