package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// hierarchies may hold containers: whichever is there first. accounts are where CPU time is counted: the file and the time that
// its number is in.
var (
	hierarchies = []string{"unified", "systemd", "", "pids"} //nolint:gochecknoglobals // a list
	accounts    = []struct {                                 //nolint:gochecknoglobals // a list
		hierarchy, file, key string
		unit                 time.Duration
	}{
		{"cpuacct", "cpuacct.usage", "", time.Nanosecond},
		{"cpu,cpuacct", "cpuacct.usage", "", time.Nanosecond},
		{"", "cpu.stat", "usage_usec ", time.Microsecond},
	}
)

const cgroups = "/sys/fs/cgroup"

// join makes a cgroup and moves the process into it.
func join(pid int, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return fmt.Errorf("join cgroup: %w", err)
	}
	return nil
}

// joinContainer gives the process a cgroup that is named like a container's.
func joinContainer(pid int, group, id string) error {
	for _, h := range hierarchies {
		dir := filepath.Join(cgroups, h)
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return join(pid, filepath.Join(dir, group, id))
		}
	}
	return fmt.Errorf("no cgroup hierarchy below %s to put containers into", cgroups)
}

// meter tells the CPU time of a process and all that it starts.
type meter struct {
	file, key string
	unit      time.Duration
}

func newMeter(pid int, group, name string) (meter, error) {
	for _, a := range accounts {
		if _, err := os.Stat(filepath.Join(cgroups, a.hierarchy, a.file)); err != nil {
			continue
		}
		dir := filepath.Join(cgroups, a.hierarchy, group, name)
		return meter{filepath.Join(dir, a.file), a.key, a.unit}, join(pid, dir)
	}
	return meter{}, fmt.Errorf("no cgroup hierarchy below %s that counts CPU time", cgroups)
}

// used returns the time used since the meter was made.
func (m meter) used() (time.Duration, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), m.key); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			return time.Duration(n) * m.unit, err
		}
	}
	return 0, fmt.Errorf("read CPU time: no %q in %s", m.key, m.file)
}

// removeGroups removes all cgroups below group in every hierarchy. The processes in them have ended; the kernel may need a moment.
func removeGroups(group string) error {
	var errs []error
	for _, h := range append(hierarchies, "cpuacct", "cpu,cpuacct") {
		root := filepath.Join(cgroups, h, group)
		deadline := time.After(10 * time.Second)
		for removeTree(root) != nil {
			select {
			case <-deadline:
				errs = append(errs, fmt.Errorf("cgroup %s is left behind", root))
			case <-time.After(50 * time.Millisecond):
				continue
			}
			break
		}
	}
	return errors.Join(errs...)
}

// removeTree removes a cgroup and those directly below it.
func removeTree(root string) error {
	below, err := filepath.Glob(filepath.Join(root, "*/cgroup.procs"))
	if err != nil {
		return err
	}
	for _, file := range below {
		if err := os.Remove(filepath.Dir(file)); err != nil {
			return err
		}
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
