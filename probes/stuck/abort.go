package stuck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// ErrRefused tells that a connection was not aborted, since that could hit somebody else or could not be ruled out to.
var ErrRefused = errors.New("abort refused")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Abort has all requests to the FUSE file system of a device, "major:minor", fail from now on. It is refused with ErrRefused unless the
// file system is the pod's alone: mounted at one of its volumes or within its containers, by no other pod, and nowhere else on
// the host but where the kubelet stages volumes. The mount tables of all processes are read for that just before, so that a device
// number which was given to somebody else meanwhile is noticed.
func (e *Examiner) Abort(ctx context.Context, podUID, device string) error {
	d, err := parseDevice(device)
	if err != nil {
		return err
	}
	if err := e.check(ctx, podUID, d); err != nil {
		return err
	}
	return e.write(d)
}

// parseDevice refuses a FUSE on a block device: its connection's number is no minor.
func parseDevice(text string) (mountinfo.Device, error) {
	major, minor, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(minor, 10, 32)
	if major != "0" || err != nil || n == 0 || strconv.FormatUint(n, 10) != minor {
		return mountinfo.Device{}, refuse("device %q is not 0:MINOR, as of a FUSE file system that no block device stands behind", text)
	}
	return mountinfo.Device{Minor: uint32(n)}, nil
}

// check refuses unless all that have the device mounted are the pod's own.
func (e *Examiner) check(ctx context.Context, podUID string, d mountinfo.Device) error {
	spaces, err := e.namespaces(ctx, podUID, d)
	if errors.Is(err, ErrRefused) {
		return err
	}
	if err != nil {
		return refuse("who uses %s cannot be told: %w", d, err)
	}
	own := 0
	for _, s := range spaces {
		n, err := s.uses(d)
		if err != nil {
			return err
		}
		own += n
	}
	if own == 0 {
		return refuse("%s is mounted nowhere in the pod %s", d, podUID)
	}
	return nil
}

// uses returns how many of the mounts of the device are the pod's, and refuses when one is not.
func (s namespace) uses(d mountinfo.Device) (own int, err error) {
	switch {
	case s.own && s.pid != hostPID:
		return s.mounts, nil
	case s.elsewhere != "":
		return 0, refuse("%s is mounted at %s of process %d as well, from where others may use it", d, s.elsewhere, s.pid)
	default:
		return s.ofPod, nil
	}
}

// write tells the kernel. The file is of the host's fusectl; it takes no lock that a server could hold. Only the user who has mounted the FUSE
// may write it (fuse_ctl_add_conn of the kernel), or who has CAP_DAC_OVERRIDE, which the agent has not.
func (e *Examiner) write(d mountinfo.Device) error {
	folder, err := os.OpenRoot(e.control(d, ""))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("abort FUSE connection %d: the host has no such folder: mount fusectl at /sys/fs/fuse/connections there: %w", d.Minor, err)
	}
	if err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", d.Minor, err)
	}
	defer func() { _ = folder.Close() }() // nothing was written to it
	if err := writeAsOwner(folder, "abort", "1"); err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", d.Minor, err)
	}
	return nil
}

// writeAsOwner writes to a file as the user whom its folder belongs to.
func writeAsOwner(folder *os.Root, name, text string) error {
	info, err := folder.Stat(".")
	if err != nil {
		return err
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid) //nolint:errcheck // on Linux it is one
	f, err := openAs(uid, folder, name)
	if err != nil {
		return fmt.Errorf("as user %d, who has mounted it: %w", uid, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// openAs opens a file for writing as that user, which takes CAP_SETUID when it is another. The user belongs to the thread, which may always go
// back to the effective one (setfsuid(2)).
func openAs(uid int, folder *os.Root, name string) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { _ = syscall.Setfsuid(syscall.Geteuid()) }() // it tells no error
	if err := syscall.Setfsuid(uid); err != nil {
		return nil, err
	}
	return folder.OpenFile(name, os.O_WRONLY, 0)
}
