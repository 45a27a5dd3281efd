package faultfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
)

const (
	touchEnv = "FAULTFS_TEST_TOUCH"
	// patience bounds waits that end at once on an idle machine.
	patience = 30 * time.Second
)

func TestMain(m *testing.M) {
	faultfs.MainIfChild()
	touchIfChild()
	if err := mountns.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// touchIfChild does one operation on one path, prints "ok", the file's content or
// the name of the error, and exits: the mount is touched in a process that may hang.
func touchIfChild() {
	what, path, ok := strings.Cut(os.Getenv(touchEnv), ":")
	if !ok {
		return
	}
	text, err := touch(what, path)
	if errno := unix.Errno(0); errors.As(err, &errno) {
		text = unix.ErrnoName(errno)
	} else if err != nil {
		text = err.Error()
	}
	fmt.Print(text)
	os.Exit(0)
}

func touch(what, path string) (string, error) {
	switch what {
	case "statfs":
		return "ok", unix.Statfs(path, &unix.Statfs_t{})
	case "stat":
		return "ok", unix.Stat(path, &unix.Stat_t{})
	case "mkdir":
		return "ok", unix.Mkdir(path, 0o755)
	case "list":
		return list(path)
	case "read":
		return read(path)
	}
	return "", fmt.Errorf("no touch called %q", what)
}

func read(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

func list(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 4096)
	n, err := unix.ReadDirent(fd, buf)
	if err != nil {
		return "", err
	}
	_, _, names := unix.ParseDirent(buf[:n], -1, nil)
	return strings.Join(names, " "), nil
}

// A toucher is a running child. Its out must not be read before done is closed.
type toucher struct {
	cmd  *exec.Cmd
	out  strings.Builder
	done chan struct{}
}

// startTouch begins a touch that may hang. The test's clean-up frees it, since the
// server's Close, registered earlier, would come too late: see newServer.
func startTouch(t *testing.T, what, path string) *toucher {
	t.Helper()
	c := &toucher{cmd: exec.Command("/proc/self/exe"), done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), touchEnv+"="+what+":"+path,
		"GORACE=atexit_sleep_ms=0") // else each child of a -race run lasts a second longer
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(c.done); _ = c.cmd.Wait() }()
	return c
}

// wait gives what the touch printed.
func (c *toucher) wait(t *testing.T) string {
	t.Helper()
	select {
	case <-c.done:
		return c.out.String()
	case <-time.After(patience):
		t.Fatalf("child %d still hangs", c.cmd.Process.Pid)
		return ""
	}
}

func (c *toucher) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func expectTouch(t *testing.T, what, path, want string) {
	t.Helper()
	if got := startTouch(t, what, path).wait(t); got != want {
		t.Errorf("%s %s: got %q, want %q", what, path, got, want)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
}

// newServer starts a server that ends with the test, in a folder of its own.
func newServer(t *testing.T, change ...func(*faultfs.StartOptions)) *faultfs.Server {
	t.Helper()
	needRoot(t)
	opts := faultfs.StartOptions{Log: t.Output()}
	opts.Mountpoint, opts.Content = t.TempDir(), "tweet"
	for _, c := range change {
		c(&opts)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := faultfs.Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func canary(s *faultfs.Server) string { return filepath.Join(s.Mountpoint(), faultfs.DefaultCanary) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("never came true: %s", what)
		case <-tick.C:
		}
	}
}
