package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/initrd"
	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

// all matches every test.
const all = "."

// Where things are in a guest.
const (
	sources = "/src" // as far as tests read them
	built   = "/opt" // the repository's programs
)

// suite is a package of the repository whose tests run in a guest.
type suite struct {
	name   string
	module string // folder of the module
	folder string // of the package, from the module's
	skip   string // tests that are left out, as go test takes it
	only   string // tests that are chosen where all are wanted
	within time.Duration
	keep   []string
}

func (s suite) binary() string { return path.Base(s.folder) + ".test" }

// suites are the tests that depend on the kernel: the lab, and those of the packages that talk to it.
func suites() []suite {
	probe := func(name string) suite {
		return suite{name: name, module: ".", folder: "probes/" + name, within: time.Minute}
	}
	return []suite{
		{name: "lab", module: "test", folder: "lab", skip: "^TestNFS", within: 8 * time.Minute, keep: []string{labRows, diskRows}},
		{name: "nfs", module: "test", folder: "lab", only: "^TestNFS", within: 8 * time.Minute, keep: []string{nfsRows}},
		probe("check"), probe("proc"), probe("stuck"),
	}
}

// The files that the lab writes what it saw to.
const (
	labRows  = "/tmp/rows.json"
	nfsRows  = "/tmp/rows-nfs.json"
	diskRows = "/tmp/rows-disk.json"
)

// builder compiles what a guest runs.
type builder struct {
	root string // of the repository
	out  string // folder for the binaries
}

func (b builder) build(ctx context.Context, chosen []suite) error {
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	for _, s := range chosen {
		if err := b.goes(ctx, s.module, "test", "-c", "-o", filepath.Join(b.out, s.binary()), "./"+s.folder); err != nil {
			return err
		}
	}
	return errors.Join(
		b.goes(ctx, ".", "build", "-o", b.out+"/", "./cmd/mountwarden-probe", "./cmd/mountwarden-backend"),
		b.goes(ctx, "test/kernelvm", "build", "-o", b.out+"/", "./guest"),
	)
}

// goes runs the go command, without cgo: a guest has no C library but for the few programs that need one.
func (b builder) goes(ctx context.Context, module, verb string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{verb, "-trimpath", "-ldflags=-s -w"}, args...)...)
	cmd.Dir = filepath.Join(b.root, module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %v in %s: %w\n%s", verb, args, cmd.Dir, err, out)
	}
	return nil
}

// stopWithin is the time to tell where a test hangs.
const stopWithin = 15 * time.Second

func (s suite) chosen(run string) string {
	if run == all && s.only != "" {
		return s.only
	}
	return run
}

// job is what a guest does for a suite.
func (s suite) job(run string) script.Job {
	return script.Job{
		Name: s.name, Dir: path.Join(sources, s.module, s.folder), Within: s.within, Keep: s.keep,
		Command: []string{
			path.Join(built, s.binary()), "-test.v", "-test.run=" + s.chosen(run), "-test.skip=" + s.skip, "-test.timeout=" + (s.within - stopWithin).String(),
		},
		Env: []string{
			"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", "MOUNTWARDEN_LAB_WORKER=" + path.Join(built, "mountwarden-probe"),
			"MOUNTWARDEN_LAB_SLOW=1", "MOUNTWARDEN_LAB_ROWS=" + labRows, "MOUNTWARDEN_LAB_NFS_ROWS=" + nfsRows, "MOUNTWARDEN_LAB_DISK_ROWS=" + diskRows,
			"MOUNTWARDEN_LAB_DISK=/dev/vda",
		},
	}
}

// pack writes the file system of a guest.
func (b builder) pack(file, tools string, k *initrd.Kernel, chosen []suite, run string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a := initrd.New(f)
	a.Console()
	for _, folder := range []string{"proc", "sys", "dev", "tmp", "run", "root", "var/lib/nfs/v4recovery"} {
		a.Folder(folder)
	}
	a.File("init", filepath.Join(b.out, "guest"))
	if err := a.Modules(k, wantedModules()...); err != nil {
		return err
	}
	names, _ := programs()
	if err := a.Programs(tools, names...); err != nil {
		return err
	}
	a.File("etc/mke2fs.conf", filepath.Join(tools, "etc/mke2fs.conf"))
	b.repository(a, chosen)
	var jobs []script.Job
	for _, s := range chosen {
		jobs = append(jobs, s.job(run))
	}
	text, err := json.Marshal(jobs)
	if err != nil {
		return err
	}
	a.Text(script.File, string(text))
	return a.Close()
}

// repository adds binaries, and of the sources what the tests read.
func (b builder) repository(a *initrd.Archive, chosen []suite) {
	for _, name := range []string{"mountwarden-probe", "mountwarden-backend"} {
		a.File(path.Join(built, name), filepath.Join(b.out, name))
	}
	for _, s := range chosen {
		a.File(path.Join(built, s.binary()), filepath.Join(b.out, s.binary()))
		folder := path.Join(s.module, s.folder)
		a.Folder(path.Join(sources, folder))
		if data := filepath.Join(b.root, folder, "testdata"); isFolder(data) {
			a.Tree(path.Join(sources, folder, "testdata"), data)
		}
	}
	for _, name := range []string{"charts/mountwarden/values.yaml", "docs/failures.md"} {
		a.File(path.Join(sources, name), filepath.Join(b.root, name))
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
