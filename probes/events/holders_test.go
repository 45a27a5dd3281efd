package events

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// fakeProc is a /proc of plain files.
type fakeProc struct {
	t    *testing.T
	root string
}

func (f fakeProc) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.WriteFile(path, []byte(text), 0o600))
}

// statusText is that of a process that waits for its input, with the capabilities.
func statusText(capabilities string) string {
	return "Name:\tfuse\nState:\tS (sleeping)\nVmSize:\t  9 kB\nVmExe:\t  1 kB\nCapEff:\t" + capabilities + "\n"
}

const (
	allCapabilities = "000001ffffffffff"
	ofAContainer    = "00000000a80425fb" // as containerd gives it by default
	ourNamespace    = "user:[4026531837]"
)

func newFakeProc(t *testing.T) fakeProc {
	t.Helper()
	f := fakeProc{t: t, root: t.TempDir()}
	f.process(999, allCapabilities, ourNamespace)
	must(t, os.Symlink("999", filepath.Join(f.root, "self")))
	return f
}

func (f fakeProc) process(pid int, capabilities, userNamespace string) {
	f.t.Helper()
	f.write(fmt.Sprintf("%d/status", pid), statusText(capabilities))
	f.symlink(userNamespace, pid, "ns/user")
	must(f.t, os.MkdirAll(filepath.Join(f.root, strconv.Itoa(pid), "fd"), 0o755))
}

func (f fakeProc) symlink(to string, pid int, name string) {
	f.t.Helper()
	path := filepath.Join(f.root, strconv.Itoa(pid), name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.Symlink(to, path))
}

func (f fakeProc) descriptor(pid, fd int, link, info string) {
	f.t.Helper()
	f.symlink(link, pid, fmt.Sprintf("fd/%d", fd))
	f.write(fmt.Sprintf("%d/fdinfo/%d", pid, fd), "pos:\t0\nflags:\t02100002\n"+info)
}

// find returns the connections of each process found.
func (f fakeProc) find(tells bool, wanted ...connection) map[int]map[connection]bool {
	f.t.Helper()
	found, err := findHolders(f.root, tells, set(wanted...), nil)
	must(f.t, err)
	got := map[int]map[connection]bool{}
	for _, h := range found {
		got[h.process.PID] = h.connections
		h.process.Release()
	}
	return got
}

func TestHolders(t *testing.T) {
	f := newFakeProc(t)
	for pid := range 8 {
		f.process(pid+1, allCapabilities, ourNamespace)
	}
	f.descriptor(1, 3, "/dev/fuse", "fuse_connection:\t40\n")
	f.descriptor(1, 9, "/dev/fuse", "fuse_connection:\t41\n")
	f.descriptor(1, 10, "/dev/fuse", "fuse_connection:\t42\n")
	f.descriptor(2, 3, "/fuse", "fuse_connection:\t40\n") // of a /dev that was unmounted
	f.descriptor(3, 3, "/dev/fuse", "")                   // not mounted yet
	f.descriptor(4, 3, "/dev/null", "")
	f.descriptor(5, 3, "/dev/fuse", "fuse_connection:\t99\n")
	f.descriptor(6, 3, "/dev/fuse", "fuse_connection:\tmany\n")
	f.write("sys/fd/3", "no process")
	must(t, os.RemoveAll(filepath.Join(f.root, "7/fd"))) // may not be read
	f.descriptor(8, 3, "/dev/fuse", "fuse_connection:\t40\n")
	f.write("8/status", "State:\tD (disk sleep)\nVmSize:\t  9 kB\nVmExe:\t  0 kB\n") // within execve

	want := map[int]map[connection]bool{1: set(40, 41), 2: set(40)}
	if diff := cmp.Diff(want, f.find(true, 40, 41, 50)); diff != "" {
		t.Error(diff)
	}
	if got := f.find(true, 50); len(got) != 0 {
		t.Errorf("found %v of nobody's connection", got)
	}
	for _, pid := range []int{1, 2, 3, 5, 6} {
		want[pid] = set(anyConnection)
	}
	if diff := cmp.Diff(want, f.find(false, 40)); diff != "" {
		t.Errorf("on a kernel that does not tell the connection every holder counts: %s", diff)
	}
}

// fdinfo is text of the kernel's that a process may make as long as it likes, and have its reader
// wait for. So none is read but of /dev/fuse, and of none but who may do to the node what he likes
// anyway: each of these would be found by its connection.
func TestFdinfoIsReadOfPrivilegedFUSEOnly(t *testing.T) {
	const told = "fuse_connection:\t40\n"
	for _, row := range []struct {
		name, capabilities, namespace, link string
		want                                map[connection]bool
	}{
		{"privileged", allCapabilities, ourNamespace, "/dev/fuse", set(40)},
		{"root of a container", ofAContainer, ourNamespace, "/dev/fuse", set(untoldConnection)},
		{"no capability", "0000000000000000", ourNamespace, "/dev/fuse", set(untoldConnection)},
		{"capabilities are not told", "", ourNamespace, "/dev/fuse", set(untoldConnection)},
		{"root of a user namespace", allCapabilities, "user:[4026532999]", "/dev/fuse", set(untoldConnection)},
		{"epoll", allCapabilities, ourNamespace, "anon_inode:[eventpoll]", nil},
		{"a file of that name", allCapabilities, ourNamespace, "/home/dev/fuse", nil},
		{"a longer name", allCapabilities, ourNamespace, "/dev/fuse" + strings.Repeat("x", 300), nil},
		{"in memory", allCapabilities, ourNamespace, "/memfd:/dev/fuse (deleted)", nil},
		{"dma-buf", allCapabilities, ourNamespace, "/dmabuf:/dev/fuse", nil},
		{"deleted", allCapabilities, ourNamespace, "/dev/fuse (deleted)", nil},
	} {
		f := newFakeProc(t)
		f.process(1, row.capabilities, row.namespace)
		f.descriptor(1, 3, row.link, told)
		if got := f.find(true, 40)[1]; !maps.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// Tenants cannot crowd out the daemons of drivers.
func TestHoldersAreBounded(t *testing.T) {
	f := newFakeProc(t)
	for pid := range maxUntold + 10 {
		f.process(pid+1, ofAContainer, ourNamespace)
		f.descriptor(pid+1, 3, "/dev/fuse", "")
	}
	const driver = maxUntold + 11
	f.process(driver, allCapabilities, ourNamespace)
	f.descriptor(driver, 3, "/dev/fuse", "fuse_connection:\t40\n")
	got := f.find(true, 40)
	if len(got) != maxUntold+1 || !got[driver][40] {
		t.Errorf("%d holders, of which the driver's holds %v", len(got), got[driver])
	}
}

func TestFindHoldersEnds(t *testing.T) {
	f := newFakeProc(t)
	f.process(1, allCapabilities, ourNamespace)
	f.descriptor(1, 3, "/dev/fuse", "")
	if _, err := findHolders(filepath.Join(f.root, "none"), true, nil, nil); err == nil {
		t.Error("no /proc, no error")
	}
	quit := make(chan struct{})
	close(quit)
	if found, err := findHolders(f.root, false, nil, quit); err != nil || len(found) != 0 {
		t.Errorf("went on: %v %v", found, err)
	}
}

// The kernel prints its own form of a device number.
func TestConnectionOf(t *testing.T) {
	for device, want := range map[mountinfo.Device]connection{
		{Minor: 39}:           39,
		{Minor: 1<<20 - 1}:    1<<20 - 1,
		{Major: 7, Minor: 0}:  7 << 20, // fuseblk
		{Major: 8, Minor: 17}: 8<<20 | 17,
	} {
		if got := connectionOf(device); got != want {
			t.Errorf("%s: %d, want %d", device, got, want)
		}
	}
}
