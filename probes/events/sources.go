package events

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// The names of the sources, which stand in the log and in metric labels.
const (
	SourceFanotify  = "mount-table-fanotify"
	SourceMountinfo = "mount-table-mountinfo"
	SourceFUSE      = "fuse-daemon"
	SourceExt4      = "ext4-errors"
)

// Source is a way in which the kernel announces changes.
type Source struct {
	Name      string
	Available bool
	Detail    string // why it is not available, or what it announces; for people
	Watched   int    // of what it announces the changes now: mount tables, processes or file systems
}

// Sources tells, in a fixed order, which sources there are on this node and what they watch. Those that are not available are left to
// polling.
func (w *Watcher) Sources() []Source {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []Source{w.fanotify, w.mountinfo, w.fuse, w.ext4}
	all[0].Watched, all[1].Watched = w.watchedTables()
	all[2].Watched, all[3].Watched = len(w.daemons.held), len(w.errors)
	return all
}

// watchedTables counts the mount tables that are watched in each of the two ways.
func (w *Watcher) watchedTables() (fanotify, mountinfo int) {
	for _, p := range w.pods {
		for _, t := range p.tables {
			if t.pins {
				mountinfo++
			} else {
				fanotify++
			}
		}
	}
	return fanotify, mountinfo
}

// try finds out which sources there are.
func (w *Watcher) try() {
	poller, err := newPoller()
	w.poller = poller
	root := w.opts.ProcRoot
	w.fanotify = source(SourceFanotify, "mounts attached and detached in a container", err, func() error { return tryFanotify(root) })
	w.mountinfo = source(SourceMountinfo, "mounts attached, detached and remounted in a container that fanotify does not watch", err,
		func() error { return tryPidfd(root) })
	w.fuse = source(SourceFUSE, "the end of a process that holds the connection of a FUSE mount", err, func() error { return tryPidfd(root) })
	release, _ := readRelease(root) // "" tells nothing
	w.tells = tellsConnections(release)
	w.ext4 = source(SourceExt4, "errors that ext4 counts", err, func() error { return tryExt4(root, w.opts.SysRoot) })
}

// source is available when nothing has failed and nothing fails in trying.
func source(name, detail string, err error, try func() error) Source {
	if err == nil {
		err = try()
	}
	if err != nil {
		return Source{Name: name, Detail: err.Error()}
	}
	return Source{Name: name, Available: true, Detail: detail}
}

// tryFanotify marks the mount namespace of this process.
func tryFanotify(procRoot string) error {
	self, err := selfByPID(procRoot)
	if err != nil {
		return err
	}
	defer self.Release()
	group, err := groupOf(self)
	if err == nil {
		sys.Close(group)
	}
	return err
}

var errOtherNamespace = errors.New("the process ids there are not those of this process's pid namespace")

// tryPidfd opens a pidfd of this process.
func tryPidfd(procRoot string) error {
	self, err := selfByPID(procRoot)
	if err != nil {
		return err
	}
	defer self.Release()
	pidfd, err := pidfdOf(self)
	if err != nil {
		return fmt.Errorf("open a pidfd: %w: it needs Linux 5.10", err)
	}
	sys.Close(pidfd)
	return nil
}

// selfByPID returns this process, whose number there must be that here: pidfd_open(2) counts in the pid namespace of its caller.
// NSpid of proc_pid_status(5) lists one number for each namespace below that of the mounted proc.
func selfByPID(procRoot string) (*proc.Process, error) {
	self, err := proc.Self(procRoot)
	if err != nil {
		return nil, err
	}
	status, err := self.Read("status")
	if err == nil && (self.PID != os.Getpid() || !onePID(status)) {
		err = fmt.Errorf("%w: run with hostPID", errOtherNamespace)
	}
	if err != nil {
		self.Release()
		return nil, fmt.Errorf("find myself in %s: %w", procRoot, err)
	}
	return self, nil
}

func onePID(status string) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(ids)) == 1
		}
	}
	return false
}

// tryExt4 looks for the folder below which ext4 shows its file systems once there is one. Whether their counts are announced no file
// tells: any file of sysfs can be polled, and the function that announces is in no list before ext4 is loaded. So the version has to do.
func tryExt4(procRoot, sysRoot string) error {
	if _, err := os.Stat(filepath.Join(sysRoot, "fs")); err != nil {
		return fmt.Errorf("find file systems: %w: show the host's /sys as %s", err, sysRoot)
	}
	release, err := readRelease(procRoot)
	if err != nil {
		return err
	}
	if !announcesErrors(release) {
		return fmt.Errorf("%w: Linux %s counts them silently: they are found at the next look; it needs Linux 5.14", errors.ErrUnsupported, release)
	}
	return nil
}

// readRelease returns the kernel's version, such as "6.1.0-56-cloud-amd64".
func readRelease(procRoot string) (string, error) {
	text, err := os.ReadFile(filepath.Join(procRoot, "sys/kernel/osrelease")) //nolint:gosec // a file of /proc
	if err != nil {
		return "", fmt.Errorf("read the kernel's version: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// announcesErrors reports whether ext4 of a kernel announces the errors that it counts: since Linux
// 5.14, with commit d578b99443fd (ext4: notify sysfs on errors_count value change).
func announcesErrors(release string) bool { return isSince(release, 5, 14) }

// tellsConnections reports whether a kernel tells the connection of a descriptor of /dev/fuse:
// since Linux 6.16, with commit 514d9210bf45 (fs: fuse: add dev id to /dev/fuse fdinfo). Of one
// that got it earlier from its distributor it is not used.
func tellsConnections(release string) bool { return isSince(release, 6, 16) }

// isSince reports whether a kernel's version is at least another. One that is not understood is
// not.
func isSince(release string, wantMajor, wantMinor int) bool {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > wantMajor || major == wantMajor && minor >= wantMinor
}
