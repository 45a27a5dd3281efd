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

func (f fakeProc) writeFile(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.root, name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.WriteFile(path, []byte(text), 0o600))
}

// statusText is the status of a sleeping process with the capabilities.
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
	f.addProcess(999, allCapabilities, ourNamespace)
	must(t, os.Symlink("999", filepath.Join(f.root, "self")))
	return f
}

func (f fakeProc) addProcess(pid int, capabilities, userNamespace string) {
	f.t.Helper()
	f.writeFile(fmt.Sprintf("%d/status", pid), statusText(capabilities))
	f.addSymlink(userNamespace, pid, "ns/user")
	must(f.t, os.MkdirAll(filepath.Join(f.root, strconv.Itoa(pid), "fd"), 0o755))
}

func (f fakeProc) addSymlink(to string, pid int, name string) {
	f.t.Helper()
	path := filepath.Join(f.root, strconv.Itoa(pid), name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.Symlink(to, path))
}

func (f fakeProc) addDescriptor(pid, fd int, link, info string) {
	f.t.Helper()
	f.addSymlink(link, pid, fmt.Sprintf("fd/%d", fd))
	f.writeFile(fmt.Sprintf("%d/fdinfo/%d", pid, fd), "pos:\t0\nflags:\t02100002\n"+info)
}

// findConnections returns the connections of each process found.
func (f fakeProc) findConnections(fdinfoTellsConnection bool, wanted ...connection) map[int]map[connection]bool {
	f.t.Helper()
	found, err := findHolders(f.root, fdinfoTellsConnection, connectionSet(wanted...), nil)
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
		f.addProcess(pid+1, allCapabilities, ourNamespace)
	}
	f.addDescriptor(1, 3, "/dev/fuse", "fuse_connection:\t40\n")
	f.addDescriptor(1, 9, "/dev/fuse", "fuse_connection:\t41\n")
	f.addDescriptor(1, 10, "/dev/fuse", "fuse_connection:\t42\n")
	f.addDescriptor(2, 3, "/fuse", "fuse_connection:\t40\n") // of a /dev that was unmounted
	f.addDescriptor(3, 3, "/dev/fuse", "")                   // not mounted yet
	f.addDescriptor(4, 3, "/dev/null", "")
	f.addDescriptor(5, 3, "/dev/fuse", "fuse_connection:\t99\n")
	f.addDescriptor(6, 3, "/dev/fuse", "fuse_connection:\tmany\n")
	f.writeFile("sys/fd/3", "no process")
	must(t, os.RemoveAll(filepath.Join(f.root, "7/fd"))) // may not be read
	f.addDescriptor(8, 3, "/dev/fuse", "fuse_connection:\t40\n")
	f.writeFile("8/status", "State:\tD (disk sleep)\nVmSize:\t  9 kB\nVmExe:\t  0 kB\n") // within execve

	want := map[int]map[connection]bool{1: connectionSet(40, 41), 2: connectionSet(40)}
	if diff := cmp.Diff(want, f.findConnections(true, 40, 41, 50)); diff != "" {
		t.Error(diff)
	}
	if got := f.findConnections(true, 50); len(got) != 0 {
		t.Errorf("found %v of nobody's connection", got)
	}
	for _, pid := range []int{1, 2, 3, 5, 6} {
		want[pid] = connectionSet(anyConnection)
	}
	if diff := cmp.Diff(want, f.findConnections(false, 40)); diff != "" {
		t.Errorf("on a kernel that does not tell the connection every holder counts: %s", diff)
	}
}

// A process can make its fdinfo as long as it likes, and block its reader. So only that of
// /dev/fuse is read, and only of privileged processes. Each of these would be found by its
// connection.
func TestFdinfoIsReadOfPrivilegedFUSEOnly(t *testing.T) {
	const told = "fuse_connection:\t40\n"
	for _, row := range []struct {
		name, capabilities, namespace, link string
		want                                map[connection]bool
	}{
		{"privileged", allCapabilities, ourNamespace, "/dev/fuse", connectionSet(40)},
		{"root of a container", ofAContainer, ourNamespace, "/dev/fuse", connectionSet(unreadConnection)},
		{"no capability", "0000000000000000", ourNamespace, "/dev/fuse", connectionSet(unreadConnection)},
		{"capabilities are not told", "", ourNamespace, "/dev/fuse", connectionSet(unreadConnection)},
		{"root of a user namespace", allCapabilities, "user:[4026532999]", "/dev/fuse", connectionSet(unreadConnection)},
		{"epoll", allCapabilities, ourNamespace, "anon_inode:[eventpoll]", nil},
		{"a file of that name", allCapabilities, ourNamespace, "/home/dev/fuse", nil},
		{"a longer name", allCapabilities, ourNamespace, "/dev/fuse" + strings.Repeat("x", 300), nil},
		{"in memory", allCapabilities, ourNamespace, "/memfd:/dev/fuse (deleted)", nil},
		{"dma-buf", allCapabilities, ourNamespace, "/dmabuf:/dev/fuse", nil},
		{"deleted", allCapabilities, ourNamespace, "/dev/fuse (deleted)", nil},
	} {
		f := newFakeProc(t)
		f.addProcess(1, row.capabilities, row.namespace)
		f.addDescriptor(1, 3, row.link, told)
		if got := f.findConnections(true, 40)[1]; !maps.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// Tenants cannot crowd out the daemons of drivers.
func TestHoldersAreBounded(t *testing.T) {
	f := newFakeProc(t)
	for pid := range maxUnreadHolders + 10 {
		f.addProcess(pid+1, ofAContainer, ourNamespace)
		f.addDescriptor(pid+1, 3, "/dev/fuse", "")
	}
	const driver = maxUnreadHolders + 11
	f.addProcess(driver, allCapabilities, ourNamespace)
	f.addDescriptor(driver, 3, "/dev/fuse", "fuse_connection:\t40\n")
	got := f.findConnections(true, 40)
	if len(got) != maxUnreadHolders+1 || !got[driver][40] {
		t.Errorf("%d holders, of which the driver's holds %v", len(got), got[driver])
	}
}

func TestFindHoldersEnds(t *testing.T) {
	f := newFakeProc(t)
	f.addProcess(1, allCapabilities, ourNamespace)
	f.addDescriptor(1, 3, "/dev/fuse", "")
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
