package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrHierarchy is wrapped when the machine's cgroup hierarchies cannot carry a kubelet.
var ErrHierarchy = errors.New("cgroup hierarchies are not usable")

const retryEvery = 50 * time.Millisecond

// Hierarchy is one mounted cgroup hierarchy.
type Hierarchy struct {
	Path    string   // where it is mounted
	V2      bool     // the unified hierarchy
	Options []string // of its superblock; for version 1 its controllers are among them
}

// Hierarchies reads the mounted hierarchies from the text of a /proc/PID/mountinfo, each once.
func Hierarchies(mountinfo io.Reader) ([]Hierarchy, error) {
	var found []Hierarchy
	seen := map[string]bool{}
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		// 36 35 98:0 /root /mount/point opts… - type source superOptions
		mount, super, ok := strings.Cut(lines.Text(), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if !ok || len(m) < 6 || len(s) < 3 || (s[0] != "cgroup" && s[0] != "cgroup2") || seen[m[2]] {
			continue
		}
		seen[m[2]] = true
		found = append(found, Hierarchy{Path: m[4], V2: s[0] == "cgroup2", Options: strings.Split(s[2], ",")})
	}
	return found, lines.Err()
}

// Check says whether a kubelet can work with these hierarchies; an error wraps ErrHierarchy.
func Check(all []Hierarchy) error {
	if len(all) == 0 {
		return fmt.Errorf("%w: none is mounted; mount cgroup2 on /sys/fs/cgroup", ErrHierarchy)
	}
	have, err := controllers(all)
	if err != nil {
		return err
	}
	for _, want := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(have, want) {
			return fmt.Errorf("%w: no hierarchy has the controller %s; the kernel or the container "+
				"this runs in must offer it", ErrHierarchy, want)
		}
	}
	return nil
}

func controllers(all []Hierarchy) ([]string, error) {
	var have []string
	for _, h := range all {
		if !h.V2 {
			have = append(have, h.Options...)
			continue
		}
		own, err := os.ReadFile(filepath.Join(h.Path, "cgroup.controllers"))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHierarchy, err)
		}
		have = append(have, strings.Fields(string(own))...)
	}
	return have, nil
}

// Create makes the group name in every hierarchy; a group that is there already is kept.
func Create(all []Hierarchy, name string) error {
	for _, h := range all {
		if h.V2 && len(all) == 1 {
			if err := delegate(h.Path); err != nil {
				return err
			}
		}
		if err := os.Mkdir(filepath.Join(h.Path, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make cgroup %s in %s: %w", name, h.Path, err)
		}
	}
	return nil
}

// delegate makes the root of the unified hierarchy pass its controllers on to its children.
func delegate(root string) error {
	own, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHierarchy, err)
	}
	for _, controller := range strings.Fields(string(own)) {
		err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		if err != nil {
			return fmt.Errorf("%w: pass %s on to child groups: %w; inside a container, give it a "+
				"cgroup namespace of its own and move its processes below the root group",
				ErrHierarchy, controller, err)
		}
	}
	return nil
}

// Remove removes the group name and all below it from every hierarchy. It waits until ctx ends for
// processes inside to be gone; it kills none.
func Remove(ctx context.Context, all []Hierarchy, name string) error {
	var errs []error
	for _, h := range all {
		errs = append(errs, removeTree(ctx, filepath.Join(h.Path, name)))
	}
	return errors.Join(errs...)
}

// Left returns the folders of the group name that are there.
func Left(all []Hierarchy, name string) []string {
	var left []string
	for _, h := range all {
		if _, err := os.Stat(filepath.Join(h.Path, name)); err == nil {
			left = append(left, filepath.Join(h.Path, name))
		}
	}
	return left
}

func removeTree(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup %s: %w", dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return removeEmpty(ctx, dir)
}

// removeEmpty waits out EBUSY: a process that has just been killed leaves its group a moment later.
func removeEmpty(ctx context.Context, dir string) error {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w (processes inside are listed in its cgroup.procs): %w", dir, err, ctx.Err())
		case <-tick.C:
		}
	}
}
