package node

import (
	"cmp"
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
	MaxActive  int           // workers that may probe at once, without parked ones; default 16
	MaxParked  int           // workers that may be parked; default 64
	ParkAfter  time.Duration // a probe without an answer for this long gives up its slot; default 250 ms
	IdleAfter  time.Duration // idle workers beyond two are stopped after this time; default 10 s
	Events     bool          // announce by Events when a probe is due before the next periodic one
	Privileged bool          // workers keep this process's privileges: ProbeSelf then uses the caller's rights
}

// Prober probes mounts through a pool of worker processes. It is safe for concurrent use.
type Prober struct {
	procRoot, sysRoot string

	finder      *proc.Finder
	pool        *worker.Pool
	hostTables  *hostTableCache
	states      *stateCache
	tableMemory *tableMemory
	events      *events.Watcher // nil without Options.Events
}

// New checks the options and returns a Prober without workers: they are started on demand. The
// caller must Close it.
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
	root, sysRoot := cmp.Or(opts.ProcRoot, "/proc"), cmp.Or(opts.SysRoot, "/sys")
	p := &Prober{
		procRoot: root, sysRoot: sysRoot, finder: proc.NewFinder(root), pool: pool,
		hostTables: newHostTableCache(root, cmp.Or(opts.HostPID, 1)), states: newStateCache(), tableMemory: newTableMemory(sharedTableBytes),
	}
	if opts.Events {
		p.events = events.New(events.Options{ProcRoot: root, SysRoot: sysRoot, Closer: pool.Path()})
	}
	return p, nil
}

// Probe probes the mounts of each container and returns within about timeout, which must be
// positive. It never blocks on a mount. The observations of the mounts come first, in their order,
// one for each that is not BelowOnly. The observations of the mounts below them follow.
func (p *Prober) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	probe := newPodProbe(p, pod.UID, timeout)
	defer probe.releaseTables()
	reservation := &tableReservation{memory: p.tableMemory, namespace: pod.Namespace}
	for i := range pod.Containers {
		probe.addContainer(p.openContainer(&pod.Containers[i], reservation))
	}
	defer probe.watchPod()
	return probe.run(ctx)
}

// ProbeSelf probes mounts as this process sees them, in their order, within about timeout. A path
// that is not a mount point is probed too: its health is that of its file system. The host's mounts
// and earlier probes do not count. A path that is read-only is Healthy, and a canary that does not
// exist is Broken.
func (p *Prober) ProbeSelf(ctx context.Context, mounts []probes.Mount, timeout time.Duration) []probes.Observation {
	self, err := proc.Self(p.procRoot)
	if err == nil {
		defer self.Release()
	}
	c := &container{mounts: mounts, self: true, process: self, err: err, state: newContainerState()}
	c.readTable()
	probe := newPodProbe(p, "", timeout)
	probe.addContainer(c)
	return probe.run(ctx)
}

// Stats is a snapshot of the workers, for metrics and health.
type Stats = worker.Stats

// Stats returns a snapshot of the workers.
func (p *Prober) Stats() Stats { return p.pool.Stats() }

// Close kills the workers and waits for them until ctx ends, at most five seconds. The error says
// how many are still inside the kernel. They are reaped in the background when they return, and
// Close may be called again to wait for them. Pending probes are answered Unknown.
func (p *Prober) Close(ctx context.Context) error {
	if p.events != nil {
		p.events.Close()
	}
	p.finder.Close()
	p.hostTables.close()
	return p.pool.Close(ctx)
}
