package node

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// Options are the settings of a Prober. The zero value is valid.
type Options struct {
	WorkerPath string        // the worker binary; default: mountwarden-probe beside this executable
	ProcRoot   string        // where the host's /proc is seen; default /proc
	SysRoot    string        // where /sys is seen; default /sys
	HostPID    int           // the process whose mounts are the host's; default 1
	MaxActive  int           // workers that may be looking at once, parked ones apart; default 16
	MaxParked  int           // workers that may be parked; default 64
	ParkAfter  time.Duration // a look without an answer for that long gives its turn away; default 250 ms
	IdleAfter  time.Duration // idle workers beyond two are let go after that; default 10 s
	Events     bool          // tell by Events when a look is due before its turn
	Privileged bool          // workers keep the privileges of this process: for ProbeSelf, which looks with the caller's own rights
}

// Prober looks at mounts through a pool of worker processes. It is safe for concurrent use.
type Prober struct {
	procRoot, sysRoot string

	finder   *proc.Finder
	pool     *worker.Pool
	host     *host
	memories *memories
	tables   *tableMemory
	events   *events.Watcher // nil without Options.Events
}

// New checks the options and returns a Prober without workers: they are started on demand. Close it.
func New(opts Options) (*Prober, error) {
	if opts.HostPID < 0 {
		return nil, fmt.Errorf("prober options: HostPID is %d; it must be a process id", opts.HostPID)
	}
	pool, err := worker.New(worker.Options{
		WorkerPath: opts.WorkerPath, MaxActive: opts.MaxActive, MaxParked: opts.MaxParked, ParkAfter: opts.ParkAfter, IdleAfter: opts.IdleAfter,
		Privileged: opts.Privileged,
	})
	if err != nil {
		return nil, err
	}
	root, sysRoot := or(opts.ProcRoot, "/proc"), or(opts.SysRoot, "/sys")
	p := &Prober{
		procRoot: root, sysRoot: sysRoot, finder: proc.NewFinder(root), pool: pool,
		host: newHost(root, or(opts.HostPID, 1)), memories: newMemories(), tables: newTableMemory(sharedTableBytes),
	}
	if opts.Events {
		p.events = events.New(events.Options{ProcRoot: root, SysRoot: sysRoot, Closer: pool.Path()})
	}
	return p, nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Probe looks at the mounts of each container and returns within about timeout, which must be positive. It never
// blocks on a mount. The observations of the mounts come first, in their order: one each, except of those that are
// BelowOnly. Those of the mounts below them follow.
func (p *Prober) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	l := newLook(p, pod.UID, timeout)
	defer l.releaseTables()
	share := &tableShare{tables: p.tables, namespace: pod.Namespace}
	for i := range pod.Containers {
		l.add(p.open(&pod.Containers[i], share))
	}
	defer l.watch()
	return l.run(ctx)
}

// ProbeSelf looks at mounts as this process sees them, in their order, within about timeout. A path that is no mount
// point is looked at all the same: the health is that of its file system. Neither the host's mounts nor what
// was there before count: a path that can only be read is Healthy, a canary that is not there is Broken.
func (p *Prober) ProbeSelf(ctx context.Context, mounts []probes.Mount, timeout time.Duration) []probes.Observation {
	self, err := proc.Self(p.procRoot)
	if err == nil {
		defer self.Release()
	}
	c := &container{mounts: mounts, self: true, process: self, err: err, memory: newMemory()}
	c.read()
	l := newLook(p, "", timeout)
	l.add(c)
	return l.run(ctx)
}

// Stats is a snapshot of the workers, for metrics and health.
type Stats = worker.Stats

// Stats returns a snapshot of the workers.
func (p *Prober) Stats() Stats { return p.pool.Stats() }

// Close kills the workers and waits for them, at most until ctx ends or for five seconds. The error
// says how many are still inside the kernel; they are reaped in the background when they return, and
// Close may be called again to wait for them. Looks under way are answered Unknown.
func (p *Prober) Close(ctx context.Context) error {
	if p.events != nil {
		p.events.Close()
	}
	p.finder.Close()
	p.host.close()
	return p.pool.Close(ctx)
}
