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

// The names of the sources. They are used in the log and in metric labels.
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
	Watched   int    // how many mount tables, processes or file systems it watches now
}

// Sources returns the sources of this node and what they watch, in a fixed order. What an
// unavailable source would announce is left to polling.
func (w *Watcher) Sources() []Source {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []Source{w.fanotify, w.mountinfo, w.fuse, w.ext4}
	all[0].Watched, all[1].Watched = w.countTables()
	all[2].Watched, all[3].Watched = len(w.daemons.byPID), len(w.counters)
	return all
}

// countTables counts the mount tables that are watched by each of the two sources.
func (w *Watcher) countTables() (fanotify, mountinfo int) {
	for _, p := range w.pods {
		for _, t := range p.tables {
			if t.pinsNamespace {
				mountinfo++
			} else {
				fanotify++
			}
		}
	}
	return fanotify, mountinfo
}

// detectSources finds out which sources this kernel and this process's privileges allow.
func (w *Watcher) detectSources() {
	poller, err := newPoller()
	w.poller = poller
	root := w.opts.ProcRoot
	w.fanotify = detectSource(SourceFanotify, "mounts attached and detached in a container", err, func() error { return detectFanotify(root) })
	w.mountinfo = detectSource(SourceMountinfo, "mounts attached, detached and remounted in a container that fanotify does not watch", err,
		func() error { return detectPidfd(root) })
	w.fuse = detectSource(SourceFUSE, "the end of a process that holds the connection of a FUSE mount", err, func() error { return detectPidfd(root) })
	version, _ := readKernelVersion(root) // "" is older than any version
	w.fdinfoTellsConnection = fdinfoTellsConnection(version)
	w.ext4 = detectSource(SourceExt4, "errors that ext4 counts", err, func() error { return detectExt4(root, w.opts.SysRoot) })
}

// detectSource returns a Source that is available when err is nil and detect succeeds.
func detectSource(name, detail string, err error, detect func() error) Source {
	if err == nil {
		err = detect()
	}
	if err != nil {
		return Source{Name: name, Detail: err.Error()}
	}
	return Source{Name: name, Available: true, Detail: detail}
}

// detectFanotify marks the mount namespace of this process, which fails where fanotify cannot be
// used.
func detectFanotify(procRoot string) error {
	self, err := findSelf(procRoot)
	if err != nil {
		return err
	}
	defer self.Release()
	group, err := openFanotifyGroup(self)
	if err == nil {
		sys.Close(group)
	}
	return err
}

var errOtherNamespace = errors.New("the process ids there are not those of this process's pid namespace")

// detectPidfd opens a pidfd of this process.
func detectPidfd(procRoot string) error {
	self, err := findSelf(procRoot)
	if err != nil {
		return err
	}
	defer self.Release()
	pidfd, err := openPidfd(self)
	if err != nil {
		return fmt.Errorf("open a pidfd: %w: it needs Linux 5.10", err)
	}
	sys.Close(pidfd)
	return nil
}

// findSelf returns this process. Its id in procRoot must be its id here, because pidfd_open(2)
// takes ids of the caller's pid namespace. NSpid of proc_pid_status(5) lists one id for each pid
// namespace from that of the mounted proc downwards, so one id means that both are the same.
func findSelf(procRoot string) (*proc.Process, error) {
	self, err := proc.Self(procRoot)
	if err != nil {
		return nil, err
	}
	status, err := self.Read("status")
	if err == nil && (self.PID != os.Getpid() || !hasOnePID(status)) {
		err = fmt.Errorf("%w: run with hostPID", errOtherNamespace)
	}
	if err != nil {
		self.Release()
		return nil, fmt.Errorf("find myself in %s: %w", procRoot, err)
	}
	return self, nil
}

func hasOnePID(status string) bool {
	for line := range strings.Lines(status) {
		if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(ids)) == 1
		}
	}
	return false
}

// detectExt4 checks for the directory below which ext4 shows its file systems, and for the kernel
// version. No file says whether changes of the count are announced: every sysfs file can be polled,
// and no list has the function that announces before ext4 is loaded.
func detectExt4(procRoot, sysRoot string) error {
	if _, err := os.Stat(filepath.Join(sysRoot, "fs")); err != nil {
		return fmt.Errorf("find file systems: %w: show the host's /sys as %s", err, sysRoot)
	}
	version, err := readKernelVersion(procRoot)
	if err != nil {
		return err
	}
	if !announcesErrorCounts(version) {
		return fmt.Errorf("%w: Linux %s counts them silently: they are found at the next look; it needs Linux 5.14", errors.ErrUnsupported, version)
	}
	return nil
}

// readKernelVersion returns the kernel's version, such as "6.1.0-56-cloud-amd64".
func readKernelVersion(procRoot string) (string, error) {
	text, err := os.ReadFile(filepath.Join(procRoot, "sys/kernel/osrelease")) //nolint:gosec // a file of /proc
	if err != nil {
		return "", fmt.Errorf("read the kernel's version: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// announcesErrorCounts reports whether ext4 announces a change of errors_count: since Linux 5.14,
// commit d578b99443fd (ext4: notify sysfs on errors_count value change).
func announcesErrorCounts(version string) bool { return isAtLeast(version, 5, 14) }

// fdinfoTellsConnection reports whether fdinfo shows the connection of a descriptor of /dev/fuse:
// since Linux 6.16, commit 514d9210bf45 (fs: fuse: add dev id to /dev/fuse fdinfo). A distributor's
// backport to an older version is not used.
func fdinfoTellsConnection(version string) bool { return isAtLeast(version, 6, 16) }

// isAtLeast reports whether a kernel version is at least the wanted one. A version that cannot be
// parsed is not.
func isAtLeast(version string, wantMajor, wantMinor int) bool {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return false
	}
	return major > wantMajor || major == wantMajor && minor >= wantMinor
}
