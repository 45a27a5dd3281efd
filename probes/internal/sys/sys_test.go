package sys_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

func openDir(t *testing.T, path string) int {
	t.Helper()
	fd, err := sys.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close(fd) })
	return fd
}

// TestOpenInRoot is about paths that try to leave the root directory.
func TestOpenInRoot(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	for link, to := range map[string]string{
		"absolute": "/inside", "up": "../../../../../../inside", "out": outside, "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "inside"), nil, 0); err != nil {
		t.Fatal(err)
	}
	dir := openDir(t, root)
	for path, want := range map[string]error{
		"/inside": nil, "inside": nil, "/absolute": nil, "/up": nil, "/../../inside": nil,
		"/out": syscall.ENOENT, "/loop": syscall.ELOOP, "/inside/x": syscall.ENOTDIR, "/none": syscall.ENOENT,
	} {
		fd, err := sys.OpenInRoot(dir, path)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		if err == nil {
			sys.Close(fd)
		}
	}
	if fd, err := sys.OpenInRoot(openDir(t, "/"), "/proc/self/root"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a magic link was followed: %d %v", fd, err)
	}
}

func TestIdentify(t *testing.T) {
	proc, err := sys.Identify(openDir(t, "/proc"))
	if err != nil || !proc.MountRoot || proc.MountID == 0 {
		t.Errorf("/proc: %+v %v", proc, err)
	}
	self, err := sys.Identify(openDir(t, "/proc/self/task"))
	if err != nil || self.MountRoot || self.MountID != proc.MountID {
		t.Errorf("/proc/self/task: %+v %v, want mount %d", self, err, proc.MountID)
	}
	if _, err := sys.Identify(-1); !errors.Is(err, syscall.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
}

func TestStatfsAndStatSync(t *testing.T) {
	dir := openDir(t, t.TempDir())
	if info, err := sys.Statfs(dir); err != nil || info.Empty || info.Magic == 0 {
		t.Errorf("%+v %v", info, err)
	}
	if info, err := sys.StatSync(dir); err != nil || info.Links == 0 || info.Regular {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := sys.Statfs(-1); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
	if _, err := sys.StatSync(-1); !errors.Is(err, syscall.EBADF) {
		t.Error(err)
	}
}

func TestOpenAt(t *testing.T) {
	self := openDir(t, "/proc/self/")
	task, err := sys.OpenDirAt(self, "task")
	if err != nil {
		t.Fatal(err)
	}
	sys.Close(task)
	file, err := sys.OpenAt(self, "comm")
	if err != nil {
		t.Fatal(err)
	}
	sys.Close(file)
	if _, err := sys.OpenDirAt(self, "comm"); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestSendAndReceive(t *testing.T) {
	parent, child, err := sys.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(child)
	proc := openDir(t, "/proc")
	self, err := sys.Duplicate(openDir(t, "/proc/self/"))
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(self)
	if err := syscall.Sendmsg(parent, []byte("hello"), sys.Rights(self, proc), nil, 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	n, fds, err := sys.Receive(child, buf, 2)
	if err != nil || string(buf[:n]) != "hello" || len(fds) != 2 {
		t.Fatalf("%q %d %v", buf[:n], fds, err)
	}
	for i, root := range []bool{false, true} {
		if id, err := sys.Identify(fds[i]); err != nil || id.MountRoot != root {
			t.Errorf("descriptor %d is another one: %+v %v", i, id, err)
		}
	}
	sys.CloseAll(fds)
	if err := sys.Send(child, []byte("back")); err != nil {
		t.Error(err)
	}
	if n, _, err := sys.Receive(parent, buf, 1); err != nil || string(buf[:n]) != "back" {
		t.Errorf("%q %v", buf[:n], err)
	}
	if err := sys.Send(parent, []byte("plain")); err != nil {
		t.Error(err)
	}
	if n, fds, err := sys.Receive(child, buf, 1); err != nil || n != 5 || len(fds) != 0 {
		t.Errorf("without a descriptor: %d %d %v", n, fds, err)
	}
	if err := syscall.Sendmsg(parent, []byte("four"), sys.Rights(self, proc, proc, self), nil, 0); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	if _, fds, err := sys.Receive(child, buf, 1); err == nil {
		t.Errorf("more descriptors than wanted were accepted: %d", fds)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d open files, then %d", before, after)
	}
	if err := sys.Send(parent, make([]byte, 9)); err != nil {
		t.Error(err)
	}
	if _, _, err := sys.Receive(child, buf, 1); err == nil {
		t.Error("a message that does not fit was accepted")
	}
	sys.Close(parent)
	if n, _, err := sys.Receive(child, buf, 1); n != 0 || err != nil {
		t.Errorf("the end: %d %v", n, err)
	}
	if err := sys.Send(child, []byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("nobody listens: %v", err)
	}
}
