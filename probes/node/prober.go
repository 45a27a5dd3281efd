package node

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// Options are the settings of a Prober. The zero value is valid.
type Options struct {
	WorkerPath string        // the worker binary; default: mountwarden-probe beside this executable
	ProcRoot   string        // where the host's /proc is seen; default /proc
	MaxActive  int           // workers that may be looking at once, parked ones apart; default 16
	MaxParked  int           // workers that may be parked; default 32
	ParkAfter  time.Duration // a look without an answer for that long gives its turn away; default 250 ms
	IdleAfter  time.Duration // idle workers beyond two are let go after that; default 30 s
}

// Prober looks at mounts through a pool of worker processes. It is safe for concurrent use.
type Prober struct {
	root   string // of the /proc
	finder *proc.Finder
	pool   *worker.Pool
}

// New checks the options and returns a Prober without workers: they are started on demand. Close it.
func New(opts Options) (*Prober, error) {
	pool, err := worker.New(worker.Options{
		WorkerPath: opts.WorkerPath, MaxActive: opts.MaxActive, MaxParked: opts.MaxParked, ParkAfter: opts.ParkAfter, IdleAfter: opts.IdleAfter,
	})
	if err != nil {
		return nil, fmt.Errorf("prober options: %w", err)
	}
	root := opts.ProcRoot
	if root == "" {
		root = "/proc"
	}
	return &Prober{root: root, finder: proc.NewFinder(root), pool: pool}, nil
}

// Probe returns exactly one observation for each mount of each container, in their order, within
// about timeout, which must be positive. It never blocks on a mount.
func (p *Prober) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	var subjects []subject
	for _, c := range pod.Containers {
		v := p.containerView(c.ID)
		for _, m := range c.Mounts {
			subjects = append(subjects, subject{
				view: v, target: probes.Target{Container: c.Name, Volume: m.Volume, Path: m.Path},
			})
		}
	}
	return p.observe(ctx, subjects, timeout)
}

// ProbeSelf looks at absolute paths as this process sees them, in their order, within about timeout. A
// path that is no mount point is looked at all the same: the health is that of its file system.
func (p *Prober) ProbeSelf(ctx context.Context, paths []string, timeout time.Duration) []probes.Observation {
	self, err := proc.Self(p.root)
	if err == nil {
		defer self.Release()
	}
	v := newView(self, err)
	subjects := make([]subject, 0, len(paths))
	for _, path := range paths {
		subjects = append(subjects, subject{view: v, target: probes.Target{Path: path}, anyPath: true})
	}
	return p.observe(ctx, subjects, timeout)
}

// Stats is a snapshot of the workers, for metrics and health.
type Stats = worker.Stats

// Stats returns a snapshot of the workers.
func (p *Prober) Stats() Stats { return p.pool.Stats() }

// Close kills the workers and waits for them, at most until ctx ends or for five seconds. The error
// says how many are still inside the kernel; they are reaped in the background when they return, and
// Close may be called again to wait for them. Looks under way are answered Unknown.
func (p *Prober) Close(ctx context.Context) error {
	p.finder.Close()
	return p.pool.Close(ctx)
}
