package events

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// Each change is announced for its own pod, and nothing else is: an event without a cause would
// come before the next one.
func TestMountTable(t *testing.T) {
	for _, by := range watchMethods() {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			w, a, b, point := newWatcher(t, by), newContainer(t), newContainer(t), t.TempDir()
			for range 3 {
				w.Watch("a", a.watchTarget())
				w.Watch("b", b.watchTarget())
			}
			a.do("stat", "/etc")
			a.do("tmpfs", point)
			expectEvent(t, w, "a", probes.TriggerMountTable)
			b.do("tmpfs", point)
			expectEvent(t, w, "b", probes.TriggerMountTable)
			a.do("umount", point)
			expectEvent(t, w, "a", probes.TriggerMountTable)
			w.Forget("b")
			b.do("umount", point)
			w.Watch("c", newContainer(t).watchTarget())
			a.do("tmpfs", point)
			expectEvent(t, w, "a", probes.TriggerMountTable)
		})
	}
}

// fanotify is silent about a remount, the mountinfo is not.
func TestRemount(t *testing.T) {
	w, c, point := newWatcher(t, watchMethod{}), newContainer(t), t.TempDir()
	c.do("tmpfs", point)
	w.Watch("a", c.watchTarget())
	c.do("readonly", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// The container holds the last mount of the device. When it ends the device is free, although it is
// watched.
func TestWatchPinsNoNamespace(t *testing.T) {
	for _, by := range watchMethods() {
		t.Run(by.name, func(t *testing.T) {
			w, disk, c, point := newWatcher(t, by), newDisk(t, t.TempDir()), newContainer(t), t.TempDir()
			before := countDescriptors(t)
			c.do("mount", disk.block, point)
			w.Watch("a", c.watchTarget(c.device(point)))
			if _, err := os.Stat(disk.sysfsDir()); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			c.kill()
			disk.expectFree()
			t.Logf("free %s after the kill", time.Since(killed).Round(100*time.Microsecond))
			w.Forget("a")
			eventually(t, "all descriptors closed", func() bool { return countDescriptors(t) <= before })
		})
	}
}

// A namespace outlives its first process, and is then watched through another one.
func TestAnotherProcessOfTheNamespace(t *testing.T) {
	w, c, point := newWatcher(t, watchMethod{}), newContainer(t), t.TempDir()
	w.Watch("a", c.watchTarget())
	other := exec.Command("nsenter", "--mount=/proc/"+strconv.Itoa(c.held.PID)+"/ns/mnt", "cat")
	input, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	defer func() {
		_ = input.Close()
		_ = other.Wait()
	}()
	eventually(t, "the other process is inside", func() bool {
		return readLink(t, c.held.PID, "ns/mnt") == readLink(t, other.Process.Pid, "ns/mnt")
	})
	c.kill()
	eventually(t, "the dead process's table is dropped", func() bool {
		return w.Stats().Tables == 0
	})
	held, err := proc.Hold("/proc", other.Process.Pid)
	must(t, err)
	defer held.Release()
	w.Watch("a", append(c.watchTarget(), WatchTarget{Process: held}))
	run(t, "nsenter", "--mount=/proc/"+strconv.Itoa(held.PID)+"/ns/mnt", "mount", "-t", "tmpfs", "none", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// The process that closes the namespace last waits for a frozen disk. It must not be the Watcher.
func TestNamespaceThatDoesNotComeDown(t *testing.T) {
	w, outer, dir := newWatcher(t, watchMethod{closer: "/bin/cat"}), newDisk(t, t.TempDir()), t.TempDir()
	w.closer.timeout = 100 * time.Millisecond
	outer.mount(dir)
	inner, point := newDisk(t, dir), t.TempDir()
	c, other := newContainer(t), newContainer(t)
	c.do("mount", inner.block, point)
	w.Watch("a", c.watchTarget(c.device(point)))
	w.Watch("b", other.watchTarget())
	c.do("write", filepath.Join(point, "file"))
	run(t, "fsfreeze", "--freeze", dir)
	thaw := func() { run(t, "fsfreeze", "--unfreeze", dir) }
	t.Cleanup(func() {
		if thaw != nil {
			thaw()
		}
	})
	c.kill()
	eventually(t, "a process closes the namespace", func() bool { return w.Stats().Closing == 1 })
	other.do("tmpfs", point)
	expectEvent(t, w, "b", probes.TriggerMountTable)
	w.Close()
	if _, err := os.Stat(inner.sysfsDir()); err != nil {
		t.Errorf("the file system was not frozen: the test shows nothing: %v", err)
	}
	thaw()
	thaw = nil
	inner.expectFree()
}

func TestErrorsOfExt4(t *testing.T) {
	w, disk, c, point := newWatcher(t, watchMethod{}), newDisk(t, t.TempDir()), newContainer(t), t.TempDir()
	disk.mount(point)
	var stat FileSystem
	c.do("mount", disk.block, point)
	stat = c.device(point)
	c.do("umount", point)
	watch := func() {
		w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{stat, {FSType: "ext4"}}}})
		w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{stat}}})
		w.Watch("c", []WatchTarget{{FileSystems: []FileSystem{{Device: stat.Device, FSType: "xfs"}}}})
	}
	both := func() {
		t.Helper()
		got := map[string]int{}
		for range 2 {
			e := <-w.Events()
			got[e.Pod+" "+string(e.Trigger)]++
		}
		if len(got) != 2 || got["a FileSystemError"] != 1 || got["b FileSystemError"] != 1 {
			t.Errorf("%v", got)
		}
	}
	watch()
	disk.triggerError()
	both()
	watch()
	disk.triggerError()
	both()
	must(t, syscall.Unmount(point, 0))
	disk.expectFree()

	disk.attachLoop() // the same name and number, another file system
	disk.mount(point)
	watch()
	disk.triggerError()
	both()
	must(t, syscall.Unmount(point, 0))
}

// The end of the process that serves a connection is announced to the pods that use it.
func TestFUSEDaemon(t *testing.T) {
	w, point := newWatcher(t, watchMethod{}), t.TempDir()
	daemon, other := newContainer(t), newContainer(t)
	a, b := mountFUSE(t, daemon, point), mountFUSE(t, other, point)
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{a}}})
	w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{b, {FSType: "tmpfs"}}}})
	w.Watch("c", []WatchTarget{{FileSystems: []FileSystem{{Device: a.Device, FSType: "nfs4"}}}})
	expectDaemons(t, w, 2)
	w.Forget("a")
	expectDaemons(t, w, 1)
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{a}}})
	expectDaemons(t, w, 2)
	daemon.kill()
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	other.kill()
	expectEvent(t, w, "b", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 0)
}

// A daemon that ends before it was found, such as one that crashes when its pod starts, is
// announced once, by the scan that does not find it.
func TestFUSEDaemonThatWasNotFound(t *testing.T) {
	w, point, daemon, other := newWatcher(t, watchMethod{}), t.TempDir(), newContainer(t), newContainer(t)
	dead, alive := mountFUSE(t, daemon, point), mountFUSE(t, other, point)
	daemon.kill()
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{dead}}})
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{alive}}})
	expectDaemons(t, w, 1) // by another scan, which misses the first daemon again
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{dead}}})
	other.kill()
	expectEvent(t, w, "b", probes.TriggerFUSEDaemon)
}

func TestFindUnheld(t *testing.T) {
	for _, row := range []struct {
		name              string
		connections, want map[connection]bool
		found             []holder
	}{
		{name: "nothing is asked"},
		{name: "held", connections: connectionSet(1, 2), found: []holder{{connections: connectionSet(1)}, {connections: connectionSet(2, 3)}}},
		{name: "by nobody", connections: connectionSet(1, 2), found: []holder{{connections: connectionSet(2)}}, want: connectionSet(1)},
		{name: "by anybody", connections: connectionSet(1, 2), found: []holder{{connections: connectionSet(anyConnection)}}},
		{name: "by who was not asked", connections: connectionSet(1, 2), found: []holder{{connections: connectionSet(unreadConnection)}}, want: connectionSet(1, 2)},
	} {
		if got := findUnheld(row.connections, row.found); !maps.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func connectionSet(connections ...connection) map[connection]bool {
	all := map[connection]bool{}
	for _, c := range connections {
		all[c] = true
	}
	return all
}

// When a scan of /proc is due: at once for what is new to a pod, and now and then for the rest.
func TestNeedsScan(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, row := range []struct {
		name        string
		now, before map[connection]bool
		missed      bool
		age         time.Duration
		want        bool
	}{
		{name: "new", now: connectionSet(1), want: true},
		{name: "one more", now: connectionSet(1, 2), before: connectionSet(1), want: true},
		{name: "as before", now: connectionSet(1), before: connectionSet(1), age: retryMissingAfter + 1},
		{name: "one less", before: connectionSet(1)},
		{name: "as before, old", now: connectionSet(1), before: connectionSet(1), age: rescanAfter + 1, want: true},
		{name: "missed", now: connectionSet(1), before: connectionSet(1), missed: true, age: retryMissingAfter},
		{name: "missed, old", now: connectionSet(1), before: connectionSet(1), missed: true, age: retryMissingAfter + 1, want: true},
	} {
		d := newDaemons()
		d.lastScan, d.holderMissing = start, row.missed
		d.addUnscanned(row.now, row.before)
		if got := d.needsScan(start.Add(row.age)); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

// The kernel gives the number of a dead connection to the next one. The daemon of the new one must
// be found although a pod that is gone is known by the number.
func TestFUSEDaemonOfANumberUsedAgain(t *testing.T) {
	w, point, daemon := newWatcher(t, watchMethod{}), t.TempDir(), newContainer(t)
	first := mountFUSE(t, daemon, point)
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{first}}})
	expectDaemons(t, w, 1)
	daemon.kill()
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	ended := time.Now()
	eventually(t, "another holder is looked for", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.daemons.lastScan.After(ended)
	})

	// The kernel gives the lowest free number (get_anon_bdev in fs/super.c). Lower ones are used up
	// first, and other processes may mount in between.
	for range 100 {
		if mountFUSE(t, newContainer(t), point) != first {
			continue
		}
		w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{first}}})
		expectDaemons(t, w, 1)
		return
	}
	t.Fatal("the kernel has not given the number again")
}

// Where the connection is not known the end of any daemon concerns every pod with a FUSE.
func TestFUSEDaemonOfAnyConnection(t *testing.T) {
	for _, unknown := range []connection{anyConnection, unreadConnection} {
		testDaemonOf(t, unknown)
	}
}

func testDaemonOf(t *testing.T, unknown connection) {
	t.Helper()
	w, point, daemon, other := newWatcher(t, watchMethod{}), t.TempDir(), newContainer(t), newContainer(t)
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{mountFUSE(t, daemon, point)}}})
	w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{mountFUSE(t, other, point)}}})
	w.Watch("c", []WatchTarget{{FileSystems: []FileSystem{{FSType: "nfs4"}}}})
	expectDaemons(t, w, 2)
	w.mu.Lock()
	for _, d := range w.daemons.byPID {
		d.connections = connectionSet(unknown)
	}
	w.mu.Unlock()
	daemon.kill()
	got := map[string]bool{(<-w.Events()).Pod: true, (<-w.Events()).Pod: true}
	if !got["a"] || !got["b"] {
		t.Errorf("%d: %v", unknown, got)
	}
}

// The connection of an unprivileged daemon is not read: the daemon is found, and its end concerns
// every pod with a FUSE mount. Until then its own connection counts as held by nobody.
func TestFUSEDaemonThatIsNotPrivileged(t *testing.T) {
	w, point, daemon, other := newWatcher(t, watchMethod{}), t.TempDir(), newContainer(t), newContainer(t)
	own := mountFUSE(t, daemon, point)
	daemon.do("become")
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{own}}})
	if w.fdinfoTellsConnection {
		expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	}
	w.Watch("b", []WatchTarget{{FileSystems: []FileSystem{mountFUSE(t, other, point)}}})
	expectDaemons(t, w, 2)
	daemon.kill()
	got := map[string]bool{(<-w.Events()).Pod: true, (<-w.Events()).Pod: true}
	if !got["a"] || !got["b"] {
		t.Errorf("%v", got)
	}
	expectDaemons(t, w, 1)
}

// A daemon that passes its descriptor to another process and ends is replaced by that process.
func TestFUSEDaemonThatHandsItsDescriptorOver(t *testing.T) {
	w, point, daemon := newWatcher(t, watchMethod{}), t.TempDir(), newContainer(t)
	w.Watch("a", []WatchTarget{{FileSystems: []FileSystem{mountFUSE(t, daemon, point)}}})
	expectDaemons(t, w, 1)
	daemon.do("handover")
	must(t, daemon.cmd.Process.Kill())
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 1)
	must(t, daemon.stdin.Close())
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 0)
}

// mountFUSE mounts a FUSE in the container and returns its device.
func mountFUSE(t *testing.T, c *container, point string) FileSystem {
	t.Helper()
	c.do("fuse", point)
	return c.device(point)
}

// expectDaemons waits until this many daemons are known.
func expectDaemons(t *testing.T, w *Watcher, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d daemons", want), func() bool { return w.Stats().Daemons == want })
}

// A tenant who mounts without end causes a few events a second, the last one after the last change.
func TestContinuousMounts(t *testing.T) {
	for _, by := range watchMethods()[:2] {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			w, c, point := newWatcher(t, by), newContainer(t), t.TempDir()
			w.Watch("a", c.watchTarget())
			start := time.Now()
			done := make(chan time.Time)
			go func() {
				c.do("churn", point)
				done <- time.Now()
			}()
			var times []time.Time
			var end time.Time
			for end.IsZero() || times[len(times)-1].Before(end) {
				select {
				case <-w.Events():
					times = append(times, time.Now())
				case end = <-done:
				case <-time.After(patience):
					t.Fatalf("after %d events the last one is missing", len(times))
				}
			}
			if most := int(time.Since(start)/minEventInterval) + 1; len(times) < 2 || len(times) > most {
				t.Errorf("%d events in %s, want 2 to %d", len(times), time.Since(start), most)
			}
		})
	}
}

func TestSources(t *testing.T) {
	w := New(Options{ProcRoot: t.TempDir(), SysRoot: t.TempDir()})
	defer w.Close()
	var names []string
	for _, s := range w.Sources() {
		names = append(names, s.Name)
		if s.Available || s.Detail == "" || s.Watched != 0 {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(names, " "); got != "mount-table-fanotify mount-table-mountinfo fuse-daemon ext4-errors" {
		t.Error(got)
	}
	w.Watch("a", []WatchTarget{{}})
	w.Close()
	w.Watch("a", []WatchTarget{{}})
	w.Forget("a")
}

// By the count of each source an operator sees whether the end of a daemon will be announced.
func TestSourcesTellWhatTheyWatch(t *testing.T) {
	for _, by := range watchMethods() {
		t.Run(by.name, func(t *testing.T) {
			w, c, point := newWatcher(t, by), newContainer(t), t.TempDir()
			w.Watch("a", c.watchTarget(mountFUSE(t, c, point)))
			expectDaemons(t, w, 1)
			want := map[string]int{SourceMountinfo: 1, SourceFUSE: 1}
			if by.fanotify {
				want = map[string]int{SourceFanotify: 1, SourceFUSE: 1}
			}
			for _, s := range w.Sources() {
				if s.Watched != want[s.Name] {
					t.Errorf("%s watches %d, want %d", s.Name, s.Watched, want[s.Name])
				}
			}
		})
	}
}

// A tenant can prolong a scan by opening files. Scans never take more than a twentieth of the time,
// unless one takes more than 1.5 s, and daemons that have just started are found soon.
func TestScanPause(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: time.Second, 10 * time.Millisecond: time.Second, 100 * time.Millisecond: 2 * time.Second,
		1500 * time.Millisecond: 30 * time.Second, time.Minute: 30 * time.Second,
	} {
		if got := scanPause(took); got != want {
			t.Errorf("a scan that took %s is followed by %s, want %s", took, got, want)
		}
	}
}

// A kernel that counts errors silently is not said to announce them.
func TestErrorsAreAnnouncedSince(t *testing.T) {
	proc, sysfs := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(proc, "sys/kernel"), 0o755))
	must(t, os.Mkdir(filepath.Join(sysfs, "fs"), 0o755))
	for release, want := range map[string]bool{
		"5.10.0-46-cloud-amd64": false, "5.13.19": false, "5.14.0-427.el9.x86_64": true, "6.1.0": true, "10.0-rc1": true, "4.19.0": false, "": false,
	} {
		must(t, os.WriteFile(filepath.Join(proc, "sys/kernel/osrelease"), []byte(release+"\n"), 0o644))
		if err := detectExt4(proc, sysfs); (err == nil) != want || !want && !strings.Contains(err.Error(), "needs Linux 5.14") {
			t.Errorf("%q: %v", release, err)
		}
	}
}

// A kernel wrongly taken for one that shows the connection would leave all daemons unknown.
func TestFdinfoTellsConnectionSince(t *testing.T) {
	for release, want := range map[string]bool{"6.12.117+deb12-cloud-amd64": false, "6.16.0": true, "7.3.4": true, "5.19.0": false, "": false} {
		if got := fdinfoTellsConnection(release); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
}

func TestExpires(t *testing.T) {
	w, c := newWatcher(t, watchMethod{}), newContainer(t)
	w.Watch("a", c.watchTarget(FileSystem{FSType: "fuse.x"}))
	w.expirePods(time.Now().Add(expireAfter / 2))
	if got := w.Stats(); got.Pods != 1 || got.Tables != 1 {
		t.Errorf("%+v", got)
	}
	w.expirePods(time.Now().Add(2 * expireAfter))
	if got := w.Stats(); got != (Stats{}) || len(w.queue.pods) != 0 {
		t.Errorf("still held: %+v", got)
	}
}

// A namespace for which there is no fanotify group left is watched by its mountinfo.
func TestMoreThanFanotifyAllows(t *testing.T) {
	w, c, point := newWatcher(t, watchMethod{fanotify: true}), newContainer(t), t.TempDir()
	mine, err := os.Open("/proc/self/ns/mnt")
	must(t, err)
	defer mine.Close()
	var groups []int
	defer func() { closeAll(groups) }()
	for {
		group, err := sys.WatchMounts(int(mine.Fd()))
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		must(t, err)
		groups = append(groups, group)
	}
	w.Watch("a", c.watchTarget())
	if held := w.pods["a"].tables[c.held.Serial]; held == nil || !held.pinsNamespace {
		t.Errorf("held %+v", held)
	}
	c.do("tmpfs", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// closeAll closes the descriptors concurrently: each close takes some time.
func closeAll(fds []int) {
	var closing sync.WaitGroup
	for _, fd := range fds {
		closing.Go(func() { sys.Close(fd) })
	}
	closing.Wait()
}

func readLink(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), name))
	must(t, err)
	return to
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}
