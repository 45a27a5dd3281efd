package events

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

func (f fakeProc) process(pid int) {
	f.t.Helper()
	status := "Name:\tfuse\nState:\tS (sleeping)\nVmSize:\t  9 kB\nVmExe:\t  1 kB\n"
	f.write(fmt.Sprintf("%d/status", pid), status)
	f.write(fmt.Sprintf("%d/task/%d/status", pid, pid), status)
	must(f.t, os.MkdirAll(filepath.Join(f.root, strconv.Itoa(pid), "fd"), 0o755))
}

func (f fakeProc) descriptor(pid, fd int, link, info string) {
	f.t.Helper()
	must(f.t, os.Symlink(link, filepath.Join(f.root, strconv.Itoa(pid), "fd", strconv.Itoa(fd))))
	f.write(fmt.Sprintf("%d/fdinfo/%d", pid, fd), "pos:\t0\nflags:\t02100002\n"+info)
}

// find returns the connections of each process found.
func (f fakeProc) find(wanted ...connection) map[int]map[connection]bool {
	f.t.Helper()
	want := map[connection]bool{}
	for _, c := range wanted {
		want[c] = true
	}
	found, err := findHolders(f.root, want, nil)
	must(f.t, err)
	got := map[int]map[connection]bool{}
	for _, h := range found {
		got[h.process.PID] = h.connections
		h.process.Release()
	}
	return got
}

func TestHolders(t *testing.T) {
	f := fakeProc{t: t, root: t.TempDir()}
	for pid := range 7 {
		f.process(pid + 1)
	}
	f.descriptor(1, 3, "/dev/fuse", "fuse_connection:\t40\n")
	f.descriptor(1, 9, "/dev/fuse", "fuse_connection:\t41\n")
	f.descriptor(1, 10, "/dev/fuse", "fuse_connection:\t42\n")
	f.descriptor(2, 3, "/fuse", "fuse_connection:\t40\n") // of a container's own /dev
	f.descriptor(3, 3, "/dev/fuse", "")                   // not mounted yet
	f.descriptor(4, 3, "/dev/null", "")
	f.descriptor(5, 3, "/dev/fuse", "fuse_connection:\t99\n")
	f.descriptor(6, 3, "/dev/fuse", "fuse_connection:\tmany\n")
	f.write("sys/fd/3", "no process")
	must(t, os.RemoveAll(filepath.Join(f.root, "7/fd"))) // may not be read

	want := map[int]map[connection]bool{1: {40: true, 41: true}, 2: {40: true}}
	if diff := cmp.Diff(want, f.find(40, 41, 50)); diff != "" {
		t.Error(diff)
	}
	if got := f.find(50); len(got) != 0 {
		t.Errorf("found %v of nobody's connection", got)
	}
}

// On a kernel that does not tell the connection every holder counts.
func TestHoldersWithoutNumbers(t *testing.T) {
	f := fakeProc{t: t, root: t.TempDir()}
	f.process(1)
	f.process(2)
	f.descriptor(1, 3, "/dev/fuse", "")
	f.descriptor(2, 3, "/dev/null", "")
	f.descriptor(2, 4, "/home/fuse", "") // a file of that name
	f.process(3)
	f.descriptor(3, 3, "/dev/fuse", "")
	f.write("3/task/3/status", "State:\tD (disk sleep)\nVmSize:\t  9 kB\nVmExe:\t  0 kB\n") // within execve: to read its links may take for ever
	want := map[int]map[connection]bool{1: {anyConnection: true}}
	if diff := cmp.Diff(want, f.find(40)); diff != "" {
		t.Error(diff)
	}
	if _, err := findHolders(filepath.Join(f.root, "none"), nil, nil); err == nil {
		t.Error("no /proc, no error")
	}
	quit := make(chan struct{})
	close(quit)
	if found, err := findHolders(f.root, nil, quit); err != nil || len(found) != 0 {
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
