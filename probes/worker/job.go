package worker

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// lockKey names what only one job at a time may use: a device, or the path through one target to
// it.
type lockKey struct {
	device string
	target uint64 // its serial number
	path   string
}

// job is one task of a call. Its states, and what moves it from one to the next:
//
//	waiting for a lock <-----+
//	    | acquireLocks       |
//	waiting for a slot       | resubmitJobs: a job before it in its batch hangs,
//	    | startBatch         | or has crashed the worker
//	sent --------------------+
//	    | ProgressPage.Begin
//	running
//	    | completeJobs: answered, or failed (which is possible in each state)
//	completed
//
// A running job that does not return is first cut off (the later jobs of its batch are
// resubmitted), then parked (its batch gives the slot back), and, when the deadline of its call
// passes, reported as hung. It holds its lock until its worker returns or ends.
type job struct {
	task    Task
	pathKey lockKey // the path through the target

	// guarded by dispatcher.mu
	call        *call
	index       int           // of its result
	targetIndex int           // which of its batch's targets; set by appendJobs
	reported    bool          // the call has its result
	key         lockKey       // the lock that it holds or waits for
	unlocked    chan struct{} // closed when it has released key; nil until somebody waits for that
	completed   bool          // it has released key, and runs no more
	batch       *batch        // nil while it waits for its lock
	item        int           // its place there
	next        *job          // in the same batch with the same key: takes over the lock
	last        *job          // of the chain that begins with next; itself when there is none
}

func newJob(c *call, index int, task Task) *job {
	j := &job{task: task, call: c, index: index}
	j.pathKey = lockKey{target: task.Target.Serial, path: task.Request.Path}
	j.key, j.last = j.wantedKey(), j
	return j
}

// wantedKey is the lock that j needs to reach its file system.
func (j *job) wantedKey() lockKey {
	if j.task.Device == "" {
		return j.pathKey
	}
	return lockKey{device: j.task.Device}
}

// batch is a list of jobs that one worker runs one after the other. Until it gets a worker they
// are jobs of one call through one target; then other batches that wait for a worker may join it.
type batch struct {
	target    *proc.Process
	as        *Credential
	jobs      []*job
	size      int           // in bytes, encoded
	exclusive bool          // resubmitted, and may hang as well: no other batch may join
	joined    chan struct{} // closed when it has joined another batch, which has its jobs now

	targets []*proc.Process // of all jobs; guarded by the pool until it has a worker
	calls   []*call         // of all jobs; set by mergeBatches

	worker      *workerProcess      // set before sentAt
	sentAt      time.Time           // by the goroutine that runs it
	completed   int                 // how many jobs are completed; of the same goroutine
	page        *check.ProgressPage // guarded by dispatcher.mu; set from startBatch to completeBatch
	parked      bool                // guarded by the pool, as are the next two
	stuckTarget *proc.Process       // with parked: the target of the job that does not return
	abandoned   bool                // its worker was killed, which may take a while
	abandonErr  error               // guarded by dispatcher.mu: why nobody waits for it any more
}

func newBatch(jobs ...*job) *batch {
	b := &batch{joined: make(chan struct{})}
	for _, j := range jobs {
		b.addJob(j)
	}
	return b
}

// canAdd reports whether j may run in b.
func (b *batch) canAdd(j *job) bool {
	return b.target == j.task.Target && sameCredential(b.as, j.task.As) &&
		len(b.jobs) < check.MaxItems && b.size+j.task.Request.Size() < check.MaxBatch
}

func (b *batch) addJob(j *job) {
	b.target, b.as = j.task.Target, j.task.As
	b.size += j.task.Request.Size()
	b.jobs = append(b.jobs, j)
}

// firstCall is the only call of a batch that has no worker yet.
func (b *batch) firstCall() *call { return b.jobs[0].call }

func (b *batch) buildRequests() []check.Request {
	requests := make([]check.Request, len(b.jobs))
	for i, j := range b.jobs {
		requests[i] = j.task.Request
		requests[i].Target = uint8(j.targetIndex) //nolint:gosec // below check.MaxTargets
	}
	return requests
}

func sameCredential(a, b *Credential) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// call is one call of Look. It waits until all of its results are there.
type call struct {
	ctx     context.Context // ends with the timeout, or when the probe is cancelled
	timeout time.Duration
	results []Result
	pending int           // guarded by dispatcher.mu
	done    chan struct{} // closed when pending is 0
}
