package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountKernels mounts what the kernel shows of itself.
func mountKernels() error {
	return errors.Join(mount("proc", "/proc", ""), mount("sysfs", "/sys", ""), mount("devtmpfs", "/dev", ""))
}

// mount mounts a file system that has no device.
func mount(fstype, at, options string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(fstype, at, fstype, 0, options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", fstype, at, err)
	}
	return nil
}

// newRoot makes a bind of the root the root: the kernel's own has no parent, and so cannot be left by pivot_root(2).
func newRoot() error {
	const at = "/root"
	return errors.Join(
		os.MkdirAll(at, 0o755), unix.Mount("/", at, "", unix.MS_BIND|unix.MS_REC, ""), os.Chdir(at),
		unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/"), unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""),
	)
}

// mountOthers mounts what a node has beside that. All controllers are there for the groups below.
func mountOthers() error {
	err := errors.Join(
		mount("tmpfs", "/tmp", "mode=1777"), mount("tmpfs", "/run", "mode=755"), os.MkdirAll("/var", 0o755), os.Symlink("/run", "/var/run"),
		mount("cgroup2", "/sys/fs/cgroup", "nsdelegate"),
	)
	if err != nil {
		return err
	}
	controllers, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	for _, name := range strings.Fields(string(controllers)) {
		err = errors.Join(err, os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+name), 0))
	}
	return err
}

func loadModules() error {
	order, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		if err := load("/modules/" + name + ".ko"); err != nil {
			return fmt.Errorf("load the module %s: %w", name, err)
		}
	}
	return nil
}

// load loads a module and removes its file, which is in memory.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(unix.FinitModule(int(f.Fd()), "", 0), os.Remove(file))
}

// raiseLoopback gives it all addresses of 192.0.2.0/24: a network of a loopback interface is local as a whole.
func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	flags, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	flags.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, flags); err != nil {
		return fmt.Errorf("raise the loopback interface: %w", err)
	}
	return errors.Join(assign(s, unix.SIOCSIFADDR, 192, 0, 2, 1), assign(s, unix.SIOCSIFNETMASK, 255, 255, 255, 0))
}

// assign sets an address or a mask of a second address of the loopback interface.
func assign(s int, what uint, a, b, c, d byte) error {
	r, err := unix.NewIfreq("lo:1")
	if err != nil {
		return err
	}
	if err := r.SetInet4Addr([]byte{a, b, c, d}); err != nil {
		return err
	}
	return unix.IoctlIfreq(s, what, r)
}
