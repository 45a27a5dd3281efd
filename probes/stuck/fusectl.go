package stuck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// connectionPath is a file of the host's fusectl for the connection of a device.
func (e *Examiner) connectionPath(d mountinfo.Device, name string) string {
	return filepath.Join(e.root, strconv.Itoa(hostPID), "root/sys/fs/fuse/connections", strconv.FormatUint(uint64(d.Minor), 10), name)
}

// countWaiting returns how many requests have no answer. ok is false when that is not known.
func (e *Examiner) countWaiting(d mountinfo.Device) (n int, ok bool) {
	if d.Major != 0 {
		return 0, false // on a block device: its connection has another number
	}
	text, err := os.ReadFile(e.connectionPath(d, "waiting"))
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// abortConnection writes to the file "abort" of the host's fusectl, which takes no lock that a
// server could hold. Only the user who has mounted the FUSE may write it (fuse_ctl_add_conn of the
// kernel), or who has CAP_DAC_OVERRIDE, which the agent has not.
func (e *Examiner) abortConnection(d mountinfo.Device) error {
	dir, err := os.OpenRoot(e.connectionPath(d, ""))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("abort FUSE connection %d: the host has no such folder: mount fusectl at /sys/fs/fuse/connections there: %w", d.Minor, err)
	}
	if err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", d.Minor, err)
	}
	defer func() { _ = dir.Close() }() // nothing was written to it
	if err := writeAsOwner(dir, "abort", "1"); err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", d.Minor, err)
	}
	return nil
}

// writeAsOwner writes to a file as the user who owns its directory.
func writeAsOwner(dir *os.Root, name, text string) error {
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid) //nolint:errcheck // on Linux it is one
	f, err := openAs(uid, dir, name)
	if err != nil {
		return fmt.Errorf("as user %d, who has mounted it: %w", uid, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// openAs opens a file for writing as that user, which takes CAP_SETUID when it is another. The
// file system user id belongs to the thread, which may always return to the effective one
// (setfsuid(2)).
func openAs(uid int, dir *os.Root, name string) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer func() { _ = syscall.Setfsuid(syscall.Geteuid()) }() // it never reports an error
	if err := syscall.Setfsuid(uid); err != nil {
		return nil, err
	}
	return dir.OpenFile(name, os.O_WRONLY, 0)
}
