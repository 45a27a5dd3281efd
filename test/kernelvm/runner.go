package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/initrd"
	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
	"github.com/mountwarden/mountwarden/test/kernelvm/internal/vm"
)

const (
	bootWithin = 2 * time.Minute // on top of what the slowest suite may take: to boot, and to tell the rest
	diskSize   = 2 << 30         // sparse
)

// errFailed is wrapped when a guest's run is not as it should be.
var errFailed = errors.New("not as it should be")

// runner runs the suites on each kernel.
type runner struct {
	options
	out     io.Writer
	results string // folder for logs
	builder builder
}

func newRunner(o options, out io.Writer) *runner {
	results := filepath.Join(o.root, "dist", "kernels")
	return &runner{options: o, out: out, results: results, builder: builder{root: o.root, out: filepath.Join(results, "bin")}}
}

func (r *runner) run(ctx context.Context) error {
	unlock, err := lockFolder(ctx, r.results, r.out)
	if err != nil {
		return err
	}
	defer unlock()
	c := &cache{dir: r.cache, progress: r.out}
	fetched, err := r.fetch(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.out, "building the tests")
	if err := r.builder.build(ctx, r.suites); err != nil {
		return err
	}
	var failed []error
	for _, k := range r.kernels {
		if err := r.kernel(ctx, k, fetched); err != nil {
			failed = append(failed, fmt.Errorf("kernel %s: %w", k.series, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// fetched is where the packages are.
type fetched struct {
	qemu, tools string
	kernels     map[string]string // by series
}

// fetch has all packages in the cache that the run needs.
func (r *runner) fetch(ctx context.Context, c *cache) (f fetched, err error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return f, err
	}
	defer unlock()
	f.kernels = map[string]string{}
	if f.qemu, err = c.qemu(ctx); err != nil {
		return f, err
	}
	if f.tools, err = c.tools(ctx); err != nil {
		return f, err
	}
	for _, k := range r.kernels {
		if f.kernels[k.series], err = c.kernel(ctx, k); err != nil {
			return f, err
		}
	}
	return f, nil
}

// kernel boots one and judges what its guest has said.
func (r *runner) kernel(ctx context.Context, k kernel, f fetched) error {
	began := time.Now()
	dir := filepath.Join(r.results, k.series)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	found, err := initrd.FindKernel(f.kernels[k.series])
	if err != nil {
		return err
	}
	machine := vm.Machine{
		QEMU: f.qemu, Kernel: found.Image, Initrd: filepath.Join(dir, "initrd"), Disks: []string{filepath.Join(dir, "disk")},
		Console: filepath.Join(dir, "console.log"),
	}
	for _, s := range r.suites { // which run at the same time
		machine.Within = max(machine.Within, bootWithin+s.within)
	}
	defer func() { _, _ = os.Remove(machine.Initrd), os.Remove(machine.Disks[0]) }() // they are large
	if err := errors.Join(r.builder.pack(machine.Initrd, f.tools, found, r.suites, r.options.run), blank(machine.Disks[0])); err != nil {
		return err
	}
	said, err := r.boot(ctx, machine, filepath.Join(dir, "guest.log"))
	if err != nil {
		return err
	}
	said.summary(r.out)
	fmt.Fprintf(r.out, "Linux %s took %.0f s in all\n", k.series, time.Since(began).Seconds())
	return r.judge(k, said)
}

// blank makes an empty disk.
func blank(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(diskSize), f.Close())
}

// boot runs the machine and writes what it says to a file.
func (r *runner) boot(ctx context.Context, m vm.Machine, file string) (said transcript, err error) {
	log, err := os.Create(file)
	if err != nil {
		return said, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	err = m.Run(ctx, func(line string) {
		fmt.Fprintln(log, line)
		if r.verbose {
			fmt.Fprintln(r.out, line)
		}
		said.take(line)
	}, func(line string) bool { return line == script.Mark+script.Done })
	if err != nil {
		err = fmt.Errorf("%w; see %s", err, file)
	}
	return said, err
}

// judge compares a run with what it should have been, or with update makes it that.
func (r *runner) judge(k kernel, said transcript) error {
	problems := said.problems(r.suites)
	if len(problems) == 0 && !r.some() {
		now, err := recordOf(said)
		if err != nil {
			return err
		}
		kept := records{r.root}
		if r.update {
			return kept.write(k.series, now)
		}
		before, err := kept.read(k.series)
		if err != nil {
			return err
		}
		if problems = before.differences(now); len(problems) > 0 {
			problems = append(problems, "if that is right, write it down: make test-kernels UPDATE=1 KERNELS="+k.series)
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w, see dist/kernels/%s/guest.log:\n  %s", errFailed, k.series, strings.Join(problems, "\n  "))
	}
	return nil
}
