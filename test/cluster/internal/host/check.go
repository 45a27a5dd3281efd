package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/cluster/internal/cgroup"
)

// Hierarchies are the cgroup hierarchies of this machine.
func Hierarchies() ([]cgroup.Hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the cgroup hierarchies: %w", err)
	}
	defer f.Close()
	return cgroup.Hierarchies(f)
}

// Check says everything that this machine lacks, apart from packages. scratch is a folder on the
// file system where the cluster will be. Every part of the error wraps ErrMissing or
// cgroup.ErrHierarchy.
func Check(scratch string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: root; run this as root, for example with sudo -E", ErrMissing)
	}
	hierarchies, err := Hierarchies()
	if err == nil {
		err = cgroup.Check(hierarchies)
	}
	return errors.Join(checkFuse("/dev/fuse"), err, checkNamespaces(scratch))
}

func checkFuse(device string) error {
	info, err := os.Stat(device)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return fmt.Errorf("%w: the device %s; load the module with `modprobe fuse`, or give the "+
			"container this runs in that device", ErrMissing, device)
	}
	return nil
}

// checkNamespaces tries namespaces and an overlay on a thread that ends right after, so that nothing
// of it is ever seen outside.
func checkNamespaces(scratch string) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- tryNamespaces(scratch)
	}()
	return <-result
}

func tryNamespaces(scratch string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("%w: new mount, network and pid namespaces: %w; inside a container, run it privileged",
			ErrMissing, err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: leave to mount: %w; inside a container, run it privileged", ErrMissing, err)
	}
	return tryOverlay(scratch)
}

func tryOverlay(scratch string) (err error) {
	dir, err := os.MkdirTemp(scratch, ".overlay-")
	if err != nil {
		return fmt.Errorf("make a folder to try an overlay in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(at(d), 0o755); err != nil {
			return fmt.Errorf("make a folder to try an overlay in: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work"))
	if err := unix.Mount("overlay", at("merged"), "overlay", 0, options); err != nil {
		return fmt.Errorf("%w: overlayfs on %s: %w; load the module with `modprobe overlay`, and set "+
			"MOUNTWARDEN_CACHE to a folder that is not on an overlay itself", ErrMissing, scratch, err)
	}
	return unix.Unmount(at("merged"), 0)
}
