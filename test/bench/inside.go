package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// optionsEnv hands the options and the folders to the process inside.
const optionsEnv = "MOUNTWARDEN_BENCH_OPTIONS"

// setting is what the outer process hands to the inner one.
type setting struct {
	Options options
	Dir     string // for files
	Group   string // name of the cgroup below which all containers are
}

// runInside runs this program again as the first process of namespaces of its own, and takes away what outlives them.
func runInside(ctx context.Context, opts options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root: it mounts file systems and makes namespaces and cgroups")
	}
	dir, err := os.MkdirTemp("", "mountwarden-bench-")
	if err != nil {
		return err
	}
	s := setting{Options: opts, Dir: dir, Group: filepath.Base(dir)}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), removeGroups(s.Group)) }()
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"=bench", optionsEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

// runBench is the first process inside.
func runBench(ctx context.Context) error {
	var s setting
	if err := json.Unmarshal([]byte(os.Getenv(optionsEnv)), &s); err != nil {
		return fmt.Errorf("read %s: %w", optionsEnv, err)
	}
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", "/proc", "proc", 0, ""),
		syscall.Mount("bench", s.Dir, "tmpfs", 0, ""),
	)
	if err != nil {
		return fmt.Errorf("furnish the namespaces: %w", err)
	}
	w, err := newWorld(ctx, s)
	if err != nil {
		return err
	}
	defer w.close()
	report := newReport()
	for _, p := range parts() {
		if !p.wanted(s.Options.Only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s ...\n", p.name)
		if partErr := p.run(ctx, w, report); partErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", p.name, partErr))
		}
	}
	report.print(os.Stdout)
	return errors.Join(err, report.write(s.Options.Output))
}
