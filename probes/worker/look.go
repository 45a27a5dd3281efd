package worker

import (
	"context"
	"sync"
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

// Credential is a user and a group of the node. A FUSE mounted without allow_other answers only its own.
type Credential struct{ UID, GID uint32 }

// Result is how a Task ended. Without Err and Since the Answer tells.
type Result struct {
	Answer check.Answer
	Since  time.Time   // not zero: there is no answer since then
	Stage  check.Stage // with Since: where it waits
	Err    error       // neither an answer nor a hang: why nothing is known
}

// Look returns one Result for each task, in their order, within about timeout, which must be positive. It
// never blocks on a file system. A file system that somebody else's look has been waiting for, for at
// least the timeout, is answered at once.
func (p *Pool) Look(ctx context.Context, tasks []Task, timeout time.Duration) []Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results := make([]Result, len(tasks))
	var all sync.WaitGroup
	for i, task := range tasks {
		all.Go(func() { results[i] = p.turns.look(ctx, task.Device, task.Target, task.Request, timeout) })
	}
	all.Wait()
	return results
}
