package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/worker"
)

const (
	batch       = 10 // mounts of the container that is looked at
	lookTimeout = 10 * time.Second
)

// costs is the CPU time of one look at one mount, in nanoseconds, for each way of looking.
type costs map[string]float64

// The ways of looking.
const (
	floorKept     = "floor: fstatfs and statx in the process itself, descriptor kept"
	floorOpened   = "floor: the same, opened for each look as a worker does"
	poolSingle    = "worker.Pool, one mount a call"
	poolBatched   = "worker.Pool, ten mounts a call"
	proberSingle  = "node.Prober, a container of one mount"
	proberBatched = "node.Prober, a container of ten mounts"
)

// measureLook tells what a look costs beside one that nothing protects. A process of its own looks, so that its CPU time and that
// of its workers are all there is to count; the FUSE's is not.
func measureLook(ctx context.Context, w *world, r *report) error {
	pods, err := w.run(ctx, 1, kind{volumes: batch})
	if err != nil {
		return err
	}
	defer w.end(ctx, pods)
	c, err := start("looker", lookerTask{
		Worker: w.Options.Worker, Group: w.Group, Container: pods[0].container.id, Dirs: pods[0].dirs, Looks: w.Options.Looks,
	}, nil)
	if err != nil {
		return err
	}
	defer c.kill()
	var found costs
	if err := json.NewDecoder(c.stdout).Decode(&found); err != nil {
		return fmt.Errorf("read what the looker found: %w", err)
	}
	for _, way := range []string{floorKept, floorOpened, poolSingle, poolBatched, proberSingle} {
		r.add("look", way, found[way]/1000, "us CPU a mount")
	}
	r.add("look", proberBatched, found[proberBatched]/1000, "us CPU a mount")
	r.limit("look", "ratio of worker.Pool, batched, to the floor", found[poolBatched]/found[floorOpened], "", 5)
	r.limit("look", "ratio of node.Prober, batched, to the floor", found[proberBatched]/found[floorOpened], "", 5)
	r.add("look", "ratio of node.Prober, batched, to the floor with kept descriptors", found[proberBatched]/found[floorKept], "")
	return nil
}

// lookerTask is what the looker looks at.
type lookerTask struct {
	Worker, Group, Container string
	Dirs                     []string // the same mounts as the host has them
	Looks                    int
}

// looker measures.
type looker struct {
	lookerTask
	meter meter
	tasks []worker.Task
}

func lookerRole() error {
	l := looker{}
	if err := task(&l.lookerTask); err != nil {
		return err
	}
	found, err := l.measure(context.Background())
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func (l *looker) measure(ctx context.Context) (found costs, err error) {
	if l.meter, err = newMeter(os.Getpid(), l.Group, "looker"); err != nil {
		return nil, err
	}
	finder := proc.NewFinder("/proc")
	defer finder.Close()
	if err := l.findTasks(finder); err != nil {
		return nil, err
	}
	pool, err := worker.New(worker.Options{WorkerPath: l.Worker})
	if err != nil {
		return nil, err
	}
	prober, err := node.New(node.Options{WorkerPath: l.Worker})
	if err != nil {
		return nil, errors.Join(err, pool.Close(ctx))
	}
	defer func() { err = errors.Join(err, pool.Close(ctx), prober.Close(ctx)) }()
	kept, err := l.open()
	if err != nil {
		return nil, err
	}
	ways := []way{
		{floorKept, 1, func(i int) error { return lookHere(kept[i%batch]) }},
		{floorOpened, 1, func(i int) error { return openAndLook(l.Dirs[i%batch]) }},
		{poolSingle, 1, func(i int) error { return good(pool.Look(ctx, l.tasks[i%batch:i%batch+1], lookTimeout)) }},
		{poolBatched, batch, func(int) error { return good(pool.Look(ctx, l.tasks, lookTimeout)) }},
		{proberSingle, 1, func(i int) error { return healthy(prober.Probe(ctx, l.pod(i%batch, 1), lookTimeout)) }},
		{proberBatched, batch, func(int) error { return healthy(prober.Probe(ctx, l.pod(0, batch), lookTimeout)) }},
	}
	found = costs{}
	for range rounds {
		for _, y := range ways {
			cost, err := l.cost(y)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", y.name, err)
			}
			if least, ok := found[y.name]; !ok || cost < least {
				found[y.name] = cost
			}
		}
	}
	return found, nil
}

// rounds is how often each way is measured, in turn with the others. The least counts: whatever else runs here only adds.
const rounds = 5

// way is one way of looking.
type way struct {
	name string
	size int // mounts a call
	look func(i int) error
}

// cost returns the CPU time that a look takes at one mount, in nanoseconds.
func (l *looker) cost(y way) (float64, error) {
	for i := range batch { // starts the workers
		if err := y.look(i); err != nil {
			return 0, err
		}
	}
	before, err := l.meter.used()
	if err != nil {
		return 0, err
	}
	calls := max(1, l.Looks/rounds/y.size)
	for i := range calls {
		if err := y.look(i); err != nil {
			return 0, err
		}
	}
	after, err := l.meter.used()
	return float64(after-before) / float64(calls*y.size), err
}

func (l *looker) pod(from, n int) probes.Pod {
	c := probes.Container{Name: "app", ID: l.Container}
	for i := range n {
		name := volumeName(from + i)
		c.Mounts = append(c.Mounts, probes.Mount{
			Volume: name, Path: "/" + name, Host: probes.HostVolume{Folder: "kubernetes.io~csi/" + name + "/mount"},
		})
	}
	return probes.Pod{UID: podUID(l.Dirs[0]), Namespace: namespace, Name: "pod", Containers: []probes.Container{c}}
}

// findTasks prepares what a Pool is asked.
func (l *looker) findTasks(finder *proc.Finder) error {
	p, err := finder.Find(l.Container)
	if err != nil {
		return err
	}
	f, err := p.Open("mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	table, err := mountinfo.Read(f, nil)
	if err != nil {
		return err
	}
	for i := range batch {
		path := "/" + volumeName(i)
		m, ok := table.At(path)
		if !ok {
			return fmt.Errorf("the container has no mount at %s", path)
		}
		l.tasks = append(l.tasks, worker.Task{
			Device: m.Device.String(), Target: p, Request: check.Request{MountID: uint64(m.ID), Path: path},
		})
	}
	return nil
}

func (l *looker) open() (fds []int, err error) {
	for _, dir := range l.Dirs {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// lookHere is what a worker asks the kernel.
func lookHere(fd int) error {
	var fs unix.Statfs_t
	var st unix.Statx_t
	return errors.Join(unix.Fstatfs(fd, &fs), unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st))
}

func openAndLook(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(lookHere(fd), unix.Close(fd))
}

func good(results []worker.Result) error {
	for _, r := range results {
		if r.Err != nil || !r.Since.IsZero() || r.Answer.Errno != 0 {
			return fmt.Errorf("a healthy mount answered %+v", r)
		}
	}
	return nil
}

func healthy(seen []probes.Observation) error {
	for _, o := range seen {
		if o.Health != probes.Healthy {
			return fmt.Errorf("a healthy mount is %+v", o)
		}
	}
	return nil
}

// podUID is part of the kubelet's path of a volume: pods/UID/volumes/PLUGIN/NAME/mount.
func podUID(dir string) string {
	for range 4 {
		dir = filepath.Dir(dir)
	}
	return filepath.Base(dir)
}
