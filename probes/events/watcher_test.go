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

// Each change is announced for its own pod, and nothing else is: an event that nothing has caused would come before the next one.
func TestMountTable(t *testing.T) {
	for _, by := range ways() {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			w, a, b, point := newWatcher(t, by), newContainer(t), newContainer(t), t.TempDir()
			for range 3 {
				w.Watch("a", a.subject())
				w.Watch("b", b.subject())
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
			w.Watch("c", newContainer(t).subject())
			a.do("tmpfs", point)
			expectEvent(t, w, "a", probes.TriggerMountTable)
		})
	}
}

// fanotify is silent about a remount, the mountinfo is not.
func TestRemount(t *testing.T) {
	w, c, point := newWatcher(t, way{}), newContainer(t), t.TempDir()
	c.do("tmpfs", point)
	w.Watch("a", c.subject())
	c.do("readonly", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// The container holds the last mount of the device: with its end the device is free, whoever watches.
func TestPinsNothing(t *testing.T) {
	for _, by := range ways() {
		t.Run(by.name, func(t *testing.T) {
			w, disk, c, point := newWatcher(t, by), newDisk(t, t.TempDir()), newContainer(t), t.TempDir()
			before := descriptors(t)
			c.do("mount", disk.block, point)
			w.Watch("a", c.subject(c.device(point)))
			if _, err := os.Stat(disk.shown()); err != nil {
				t.Fatal(err)
			}
			killed := time.Now()
			c.kill()
			disk.expectFree()
			t.Logf("free %s after the kill", time.Since(killed).Round(100*time.Microsecond))
			w.Forget("a")
			eventually(t, "all descriptors closed", func() bool { return descriptors(t) <= before })
		})
	}
}

// A namespace lives on with another of its processes, through which it is watched when the first has ended.
func TestAnotherProcessOfTheNamespace(t *testing.T) {
	w, c, point := newWatcher(t, way{}), newContainer(t), t.TempDir()
	w.Watch("a", c.subject())
	other := exec.Command("nsenter", "--mount=/proc/"+strconv.Itoa(c.held.PID)+"/ns/mnt", "cat")
	input, err := other.StdinPipe()
	must(t, err)
	must(t, other.Start())
	defer func() {
		_ = input.Close()
		_ = other.Wait()
	}()
	eventually(t, "the other process is inside", func() bool {
		return link(t, c.held.PID, "ns/mnt") == link(t, other.Process.Pid, "ns/mnt")
	})
	c.kill()
	eventually(t, "the dead process's table is let go", func() bool {
		return w.Stats().Tables == 0
	})
	held, err := proc.Hold("/proc", other.Process.Pid)
	must(t, err)
	defer held.Release()
	w.Watch("a", append(c.subject(), Subject{Process: held}))
	run(t, "nsenter", "--mount=/proc/"+strconv.Itoa(held.PID)+"/ns/mnt", "mount", "-t", "tmpfs", "none", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// Whoever takes down the namespace waits for a frozen disk: that must not be the Watcher.
func TestNamespaceThatDoesNotComeDown(t *testing.T) {
	w, outer, folder := newWatcher(t, way{closer: "/bin/cat"}), newDisk(t, t.TempDir()), t.TempDir()
	w.releaser.patience = 100 * time.Millisecond
	outer.mount(folder)
	inner, point := newDisk(t, folder), t.TempDir()
	c, other := newContainer(t), newContainer(t)
	c.do("mount", inner.block, point)
	w.Watch("a", c.subject(c.device(point)))
	w.Watch("b", other.subject())
	c.do("write", filepath.Join(point, "file"))
	run(t, "fsfreeze", "--freeze", folder)
	thaw := func() { run(t, "fsfreeze", "--unfreeze", folder) }
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
	if _, err := os.Stat(inner.shown()); err != nil {
		t.Errorf("the file system was not frozen: the test shows nothing: %v", err)
	}
	thaw()
	thaw = nil
	inner.expectFree()
}

func TestErrorsOfExt4(t *testing.T) {
	w, disk, c, point := newWatcher(t, way{}), newDisk(t, t.TempDir()), newContainer(t), t.TempDir()
	disk.mount(point)
	var stat Device
	c.do("mount", disk.block, point)
	stat = c.device(point)
	c.do("umount", point)
	watch := func() {
		w.Watch("a", []Subject{{Devices: []Device{stat, {FSType: "ext4"}}}})
		w.Watch("b", []Subject{{Devices: []Device{stat}}})
		w.Watch("c", []Subject{{Devices: []Device{{Device: stat.Device, FSType: "xfs"}}}})
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
	disk.fail()
	both()
	watch()
	disk.fail()
	both()
	must(t, syscall.Unmount(point, 0))
	disk.expectFree()

	disk.attach() // the same name and number, another file system
	disk.mount(point)
	watch()
	disk.fail()
	both()
	must(t, syscall.Unmount(point, 0))
}

// The end of the process that serves a connection is announced to the pods that use it.
func TestFUSEDaemon(t *testing.T) {
	w, point := newWatcher(t, way{}), t.TempDir()
	daemon, other := newContainer(t), newContainer(t)
	a, b := serve(t, daemon, point), serve(t, other, point)
	w.Watch("a", []Subject{{Devices: []Device{a}}})
	w.Watch("b", []Subject{{Devices: []Device{b, {FSType: "tmpfs"}}}})
	w.Watch("c", []Subject{{Devices: []Device{{Device: a.Device, FSType: "nfs4"}}}})
	expectDaemons(t, w, 2)
	w.Forget("a")
	expectDaemons(t, w, 1)
	w.Watch("a", []Subject{{Devices: []Device{a}}})
	expectDaemons(t, w, 2)
	daemon.kill()
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	other.kill()
	expectEvent(t, w, "b", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 0)
}

// A daemon that ends before it was found, as one that crashes when its pod starts, is announced by the scan that misses it, once.
func TestFUSEDaemonThatWasNotFound(t *testing.T) {
	w, point, daemon, other := newWatcher(t, way{}), t.TempDir(), newContainer(t), newContainer(t)
	dead, alive := serve(t, daemon, point), serve(t, other, point)
	daemon.kill()
	w.Watch("a", []Subject{{Devices: []Device{dead}}})
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	w.Watch("b", []Subject{{Devices: []Device{alive}}})
	expectDaemons(t, w, 1) // by another scan, which misses the first daemon again
	w.Watch("a", []Subject{{Devices: []Device{dead}}})
	other.kill()
	expectEvent(t, w, "b", probes.TriggerFUSEDaemon)
}

func TestUnheld(t *testing.T) {
	for _, row := range []struct {
		name              string
		connections, want map[connection]bool
		found             []holder
	}{
		{name: "nothing is asked"},
		{name: "held", connections: set(1, 2), found: []holder{{connections: set(1)}, {connections: set(2, 3)}}},
		{name: "by nobody", connections: set(1, 2), found: []holder{{connections: set(2)}}, want: set(1)},
		{name: "by anybody", connections: set(1, 2), found: []holder{{connections: set(anyConnection)}}},
		{name: "by who was not asked", connections: set(1, 2), found: []holder{{connections: set(untoldConnection)}}, want: set(1, 2)},
	} {
		if got := unheld(row.connections, row.found); !maps.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func set(connections ...connection) map[connection]bool {
	all := map[connection]bool{}
	for _, c := range connections {
		all[c] = true
	}
	return all
}

// When a scan of /proc is due: at once for what is new to a pod, and now and then for the rest.
func TestLack(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, row := range []struct {
		name        string
		now, before map[connection]bool
		missed      bool
		age         time.Duration
		want        bool
	}{
		{name: "new", now: set(1), want: true},
		{name: "one more", now: set(1, 2), before: set(1), want: true},
		{name: "as before", now: set(1), before: set(1), age: missedAfter + 1},
		{name: "one less", before: set(1)},
		{name: "as before, old", now: set(1), before: set(1), age: rescanAfter + 1, want: true},
		{name: "missed", now: set(1), before: set(1), missed: true, age: missedAfter},
		{name: "missed, old", now: set(1), before: set(1), missed: true, age: missedAfter + 1, want: true},
	} {
		d := newDaemons()
		d.scanned, d.missed = start, row.missed
		d.use(row.now, row.before)
		if got := d.lack(start.Add(row.age)); got != row.want {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

// The kernel gives the number of a dead connection to the next one, whose daemon is to be found although a pod that is gone is known by it.
func TestFUSEDaemonOfANumberUsedAgain(t *testing.T) {
	w, point, daemon := newWatcher(t, way{}), t.TempDir(), newContainer(t)
	first := serve(t, daemon, point)
	w.Watch("a", []Subject{{Devices: []Device{first}}})
	expectDaemons(t, w, 1)
	daemon.kill()
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	ended := time.Now()
	eventually(t, "an heir is looked for", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.daemons.scanned.After(ended)
	})

	for range 100 { // the lowest number that is free is given (get_anon_bdev of the kernel): lower ones are used up, others may mount in between
		if serve(t, newContainer(t), point) != first {
			continue
		}
		w.Watch("b", []Subject{{Devices: []Device{first}}})
		expectDaemons(t, w, 1)
		return
	}
	t.Fatal("the kernel has not given the number again")
}

// Where the connection is not known the end of any daemon concerns every pod with a FUSE.
func TestFUSEDaemonOfAnyConnection(t *testing.T) {
	for _, unknown := range []connection{anyConnection, untoldConnection} {
		testDaemonOf(t, unknown)
	}
}

func testDaemonOf(t *testing.T, unknown connection) {
	t.Helper()
	w, point, daemon, other := newWatcher(t, way{}), t.TempDir(), newContainer(t), newContainer(t)
	w.Watch("a", []Subject{{Devices: []Device{serve(t, daemon, point)}}})
	w.Watch("b", []Subject{{Devices: []Device{serve(t, other, point)}}})
	w.Watch("c", []Subject{{Devices: []Device{{FSType: "nfs4"}}}})
	expectDaemons(t, w, 2)
	w.mu.Lock()
	for _, d := range w.daemons.held {
		d.connections = set(unknown)
	}
	w.mu.Unlock()
	daemon.kill()
	got := map[string]bool{(<-w.Events()).Pod: true, (<-w.Events()).Pod: true}
	if !got["a"] || !got["b"] {
		t.Errorf("%d: %v", unknown, got)
	}
}

// A daemon that is not privileged is not asked for its connection: it is found, and its end concerns
// every pod with a FUSE. Until then its own connection is known to be held by nobody.
func TestFUSEDaemonThatIsNotPrivileged(t *testing.T) {
	w, point, daemon, other := newWatcher(t, way{}), t.TempDir(), newContainer(t), newContainer(t)
	own := serve(t, daemon, point)
	daemon.do("become")
	w.Watch("a", []Subject{{Devices: []Device{own}}})
	if w.tells {
		expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	}
	w.Watch("b", []Subject{{Devices: []Device{serve(t, other, point)}}})
	expectDaemons(t, w, 2)
	daemon.kill()
	got := map[string]bool{(<-w.Events()).Pod: true, (<-w.Events()).Pod: true}
	if !got["a"] || !got["b"] {
		t.Errorf("%v", got)
	}
	expectDaemons(t, w, 1)
}

// Who hands its descriptor to another process and ends is replaced by that.
func TestFUSEDaemonWithAnHeir(t *testing.T) {
	w, point, daemon := newWatcher(t, way{}), t.TempDir(), newContainer(t)
	w.Watch("a", []Subject{{Devices: []Device{serve(t, daemon, point)}}})
	expectDaemons(t, w, 1)
	daemon.do("heir")
	must(t, daemon.cmd.Process.Kill())
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 1)
	must(t, daemon.stdin.Close())
	expectEvent(t, w, "a", probes.TriggerFUSEDaemon)
	expectDaemons(t, w, 0)
}

// serve mounts a FUSE in the container and returns its device.
func serve(t *testing.T, c *container, point string) Device {
	t.Helper()
	c.do("fuse", point)
	return c.device(point)
}

// expectDaemons waits until so many daemons are known.
func expectDaemons(t *testing.T, w *Watcher, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d daemons", want), func() bool { return w.Stats().Daemons == want })
}

// A tenant who mounts without end gets a few looks a second, the last one after the last change.
func TestStorm(t *testing.T) {
	for _, by := range ways()[:2] {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			w, c, point := newWatcher(t, by), newContainer(t), t.TempDir()
			w.Watch("a", c.subject())
			start := time.Now()
			done := make(chan time.Time)
			go func() {
				c.do("storm", point)
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
			if most := int(time.Since(start)/gap) + 1; len(times) < 2 || len(times) > most {
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
	w.Watch("a", []Subject{{}})
	w.Close()
	w.Watch("a", []Subject{{}})
	w.Forget("a")
}

// How much each source watches is what an operator has to tell whether the end of a daemon will be announced.
func TestSourcesTellWhatTheyWatch(t *testing.T) {
	for _, by := range ways() {
		t.Run(by.name, func(t *testing.T) {
			w, c, point := newWatcher(t, by), newContainer(t), t.TempDir()
			w.Watch("a", c.subject(serve(t, c, point)))
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

// A tenant chooses how long a scan takes, by how many files he opens: it never takes more than a
// twentieth of the time, unless it takes more than 1.5 s. And daemons that have just started are
// not left unknown for long.
func TestRestAfterAScan(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: time.Second, 10 * time.Millisecond: time.Second, 100 * time.Millisecond: 2 * time.Second,
		1500 * time.Millisecond: 30 * time.Second, time.Minute: 30 * time.Second,
	} {
		if got := rest(took); got != want {
			t.Errorf("a scan that took %s is followed by %s, want %s", took, got, want)
		}
	}
}

// A kernel that counts errors without a word is not said to announce them.
func TestErrorsAreAnnouncedSince(t *testing.T) {
	proc, sysfs := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(proc, "sys/kernel"), 0o755))
	must(t, os.Mkdir(filepath.Join(sysfs, "fs"), 0o755))
	for release, want := range map[string]bool{
		"5.10.0-46-cloud-amd64": false, "5.13.19": false, "5.14.0-427.el9.x86_64": true, "6.1.0": true, "10.0-rc1": true, "4.19.0": false, "": false,
	} {
		must(t, os.WriteFile(filepath.Join(proc, "sys/kernel/osrelease"), []byte(release+"\n"), 0o644))
		if err := tryExt4(proc, sysfs); (err == nil) != want || !want && !strings.Contains(err.Error(), "needs Linux 5.14") {
			t.Errorf("%q: %v", release, err)
		}
	}
}

// To take a kernel for one that tells would leave all daemons unknown.
func TestConnectionsAreToldSince(t *testing.T) {
	for release, want := range map[string]bool{"6.12.117+deb12-cloud-amd64": false, "6.16.0": true, "7.3.4": true, "5.19.0": false, "": false} {
		if got := tellsConnections(release); got != want {
			t.Errorf("%q: %t", release, got)
		}
	}
}

func TestExpires(t *testing.T) {
	w, c := newWatcher(t, way{}), newContainer(t)
	w.Watch("a", c.subject(Device{FSType: "fuse.x"}))
	w.expire(time.Now().Add(forgetAfter / 2))
	if got := w.Stats(); got.Pods != 1 || got.Tables != 1 {
		t.Errorf("%+v", got)
	}
	w.expire(time.Now().Add(2 * forgetAfter))
	if got := w.Stats(); got != (Stats{}) || len(w.queue.pods) != 0 {
		t.Errorf("still held: %+v", got)
	}
}

// What fanotify has no group for is watched by its mountinfo.
func TestMoreThanFanotifyAllows(t *testing.T) {
	w, c, point := newWatcher(t, way{fanotify: true}), newContainer(t), t.TempDir()
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
	w.Watch("a", c.subject())
	if held := w.pods["a"].tables[c.held.Serial]; held == nil || !held.pins {
		t.Errorf("held %+v", held)
	}
	c.do("tmpfs", point)
	expectEvent(t, w, "a", probes.TriggerMountTable)
}

// closeAll closes at once what takes its time one by one.
func closeAll(fds []int) {
	var closing sync.WaitGroup
	for _, fd := range fds {
		closing.Go(func() { sys.Close(fd) })
	}
	closing.Wait()
}

func link(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), name))
	must(t, err)
	return to
}

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}
