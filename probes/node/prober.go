package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/proc"
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

// withDefaults fills in what is zero and refuses what cannot work.
func (o Options) withDefaults() (Options, error) {
	if o.MaxActive < 0 || o.MaxParked < 0 || o.ParkAfter < 0 || o.IdleAfter < 0 {
		return o, fmt.Errorf("prober options: %+v: no value may be negative", o)
	}
	if o.WorkerPath == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("prober options: find the worker beside this executable: %w", err)
		}
		o.WorkerPath = filepath.Join(filepath.Dir(self), workerName)
	}
	if err := checkExecutable(o.WorkerPath); err != nil {
		return o, fmt.Errorf("prober options: worker %s: %w", o.WorkerPath, err)
	}
	o.ProcRoot = or(o.ProcRoot, "/proc")
	o.MaxActive = or(o.MaxActive, 16)
	o.MaxParked = or(o.MaxParked, 32)
	o.ParkAfter = or(o.ParkAfter, 250*time.Millisecond)
	o.IdleAfter = or(o.IdleAfter, 30*time.Second)
	return o, nil
}

func checkExecutable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return errors.New("not an executable file")
	}
	return nil
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

// Prober looks at mounts through a pool of worker processes. It is safe for concurrent use.
type Prober struct {
	opts   Options
	finder *proc.Finder
	pool   *pool
	turns  *turns
}

// New checks the options and returns a Prober without workers: they are started on demand. Close it.
func New(opts Options) (*Prober, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	pool := newPool(opts)
	return &Prober{opts: opts, finder: proc.NewFinder(opts.ProcRoot), pool: pool, turns: newTurns(pool, opts.ParkAfter)}, nil
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
	self, err := proc.Self(p.opts.ProcRoot)
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
type Stats struct {
	Workers   int    // child processes alive, idle and parked ones included
	Idle      int    // workers with nothing to do
	InFlight  int    // looks under way, parked ones included
	Parked    int    // looks without an answer for longer than Options.ParkAfter
	MaxParked int    // from this many Parked on, mounts without an answer are Unknown
	Undropped string // the privileges that the last worker could not drop; "" when none
}

// Stats returns a snapshot of the workers.
func (p *Prober) Stats() Stats { return p.pool.stats() }

// Close kills the workers and waits for them, at most until ctx ends or for five seconds. The error
// says how many are still inside the kernel; they are reaped in the background when they return, and
// Close may be called again to wait for them. Looks under way are answered Unknown.
func (p *Prober) Close(ctx context.Context) error {
	p.finder.Close()
	return p.pool.close(ctx)
}
