package worker

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// Task is one probe that a worker is to make.
type Task struct {
	Device  string        // "major:minor" whose lock is taken; "" when only the path is resolved
	Target  *proc.Process // through whose root and mounts
	Request check.Request
	As      *Credential // the user of the worker; nil: as the agent
}

// Result is how a Task ended. Without Err and Since the Answer tells.
type Result struct {
	Answer check.Answer
	Since  time.Time   // not zero: there is no answer since then
	Stage  check.Stage // with Since: where it waits
	Err    error       // neither an answer nor a hang: why nothing is known
	At     time.Time   // when all this was known: of several tasks, one does not wait for the other
}

// Look returns one Result for each task, in their order, within about timeout, which must be
// positive. It never blocks on a file system. When another call has been waiting for the same
// device for at least the timeout, the result is there at once. Tasks that are handed over
// together, or while all workers are busy, are run by one worker while all goes well, which is
// several times cheaper than one by one.
func (p *Pool) Look(ctx context.Context, tasks []Task, timeout time.Duration) []Result {
	if len(tasks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := &call{ctx: ctx, timeout: timeout, results: make([]Result, len(tasks)), pending: len(tasks), done: make(chan struct{})}
	batches := c.groupTasks(tasks)
	for _, b := range batches[1:] {
		p.dispatcher.submitBatch(b)
	}
	p.dispatcher.dispatchBatch(batches[0])
	<-c.done
	return c.results
}

// groupTasks makes batches of the tasks: each of one target and one user.
func (c *call) groupTasks(tasks []Task) (all []*batch) {
	for i, task := range tasks {
		if task.As != nil && *task.As == ownCredential() {
			task.As = nil
		}
		all = packJob(all, newJob(c, i, task))
	}
	return all
}

// packJob adds j to the last batch of its target that has room, or to a new one. Targets are few.
func packJob(all []*batch, j *job) []*batch {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].canAdd(j) {
			all[i].addJob(j)
			return all
		}
	}
	return append(all, newBatch(j))
}
