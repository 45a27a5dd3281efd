package worker

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// Task is one look that a worker is to make.
type Task struct {
	Device  string        // "major:minor" whose turn is taken; "" when only the way to the path is walked
	Target  *proc.Process // through whose root and mounts
	Request check.Request
	As      *Credential // as whom the worker looks; nil: as the agent
}

// Result is how a Task ended. Without Err and Since the Answer tells.
type Result struct {
	Answer check.Answer
	Since  time.Time   // not zero: there is no answer since then
	Stage  check.Stage // with Since: where it waits
	Err    error       // neither an answer nor a hang: why nothing is known
	At     time.Time   // when all this was known: of several tasks, one does not wait for the other
}

// Look returns one Result for each task, in their order, within about timeout, which must be positive. It
// never blocks on a file system. A file system that somebody else's look has been waiting for, for at
// least the timeout, is answered at once. Tasks that are handed over together, or while all workers are
// busy, are made by one worker while all goes well, which is several times cheaper than one by one.
func (p *Pool) Look(ctx context.Context, tasks []Task, timeout time.Duration) []Result {
	if len(tasks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := &asker{ctx: ctx, timeout: timeout, results: make([]Result, len(tasks)), pending: len(tasks), done: make(chan struct{})}
	batches := a.batches(tasks)
	for _, b := range batches[1:] {
		p.turns.send(b)
	}
	p.turns.dispatch(batches[0])
	<-a.done
	return a.results
}

func (a *asker) batches(tasks []Task) (all []*batch) {
	for i, task := range tasks {
		if task.As != nil && *task.As == own() {
			task.As = nil
		}
		all = pack(all, newFlight(a, i, task))
	}
	return all
}

// pack adds f to the last batch of its target, or to a new one. Targets are few.
func pack(all []*batch, f *flight) []*batch {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].fits(f) {
			all[i].add(f)
			return all
		}
	}
	return append(all, newBatch(f))
}
