package node

import (
	"context"
	"time"

	"github.com/mountwarden/mountwarden/probes"
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

// Stats is a snapshot of the workers, for metrics and health.
type Stats struct {
	Workers  int // child processes alive, idle and parked ones included
	Idle     int // workers with nothing to do
	InFlight int // looks under way, parked ones included
	Parked   int // looks without an answer for longer than Options.ParkAfter
}

// Prober looks at mounts through a pool of worker processes. It is safe for concurrent use.
type Prober struct{ opts Options }

// New checks the options and returns a Prober without workers: they are started on demand.
func New(opts Options) (*Prober, error) { return &Prober{opts: opts}, nil }

// Probe returns exactly one observation for each mount of each container, in their order, within
// about timeout. It never blocks on a mount.
func (p *Prober) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	return nil
}

// ProbeSelf looks at paths as this process sees them, in their order, within about timeout. A path
// that is no mount point is looked at all the same: the health is that of its file system.
func (p *Prober) ProbeSelf(ctx context.Context, paths []string, timeout time.Duration) []probes.Observation {
	return nil
}

// Stats returns a snapshot of the workers.
func (p *Prober) Stats() Stats { return Stats{} }

// Close kills the workers and waits for them, at most until ctx ends or a few seconds. The error says
// how many are still inside the kernel; they are reaped in the background, and Close may be called
// again to wait for them.
func (p *Prober) Close(ctx context.Context) error { return nil }
