package faultfs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// touchOf are ways to reach the server with each operation.
var touchOf = map[faultfs.Op]struct{ what, below string }{
	faultfs.Statfs:  {"statfs", ""},
	faultfs.Getattr: {"stat", ""},
	faultfs.Lookup:  {"stat", "canary"},
	faultfs.Open:    {"read", "canary"},
	faultfs.Read:    {"read", "canary"},
	faultfs.Readdir: {"list", ""},
	faultfs.Write:   {"mkdir", "new"},
}

func TestHealthyMount(t *testing.T) {
	s := newServer(t, func(o *faultfs.StartOptions) { o.Canary = "bird" })
	expectTouch(t, "read", filepath.Join(s.Mountpoint(), "bird"), "tweet")
	expectTouch(t, "statfs", s.Mountpoint(), "ok")
	expectTouch(t, "list", s.Mountpoint(), "bird")
	status, err := s.Status()
	must(t, err)
	want := faultfs.Info{PID: s.Pid(), Mountpoint: s.Mountpoint(), Connection: s.Connection()}
	if status.Info != want || len(status.Faults) != 0 || status.Held != 0 {
		t.Errorf("status %+v, want %+v and no faults", status, want)
	}
}

func TestErrorOfEachOperation(t *testing.T) {
	s := newServer(t)
	for op, touch := range touchOf {
		for _, errno := range []syscall.Errno{unix.EIO, unix.ESTALE, unix.EACCES} {
			must(t, s.Error(op, errno))
			expectTouch(t, touch.what, filepath.Join(s.Mountpoint(), touch.below), unix.ErrnoName(errno))
			must(t, s.Clear())
		}
	}
	expectTouch(t, "read", canary(s), "tweet")
}

func TestErrorOfOneOperationLeavesOthers(t *testing.T) {
	s := newServer(t)
	must(t, s.Error(faultfs.Read, unix.EIO))
	expectTouch(t, "read", canary(s), "EIO")
	expectTouch(t, "stat", canary(s), "ok")
	expectTouch(t, "statfs", s.Mountpoint(), "ok")
}

func TestErrorOfAll(t *testing.T) {
	s := newServer(t)
	must(t, s.Error(faultfs.All, unix.EIO))
	for _, touch := range touchOf {
		expectTouch(t, touch.what, filepath.Join(s.Mountpoint(), touch.below), "EIO")
	}
	must(t, s.Clear())
	expectTouch(t, "read", canary(s), "tweet")
}

func TestHangOfEachOperationAndClear(t *testing.T) {
	s := newServer(t)
	for op, touch := range touchOf {
		must(t, s.Hang(op))
		child := startTouch(t, touch.what, filepath.Join(s.Mountpoint(), touch.below))
		eventually(t, string(op)+" is held", func() bool { return held(t, s) == 1 })
		if child.isDone() {
			t.Errorf("%s: got %q while hanging", op, child.out.String())
		}
		must(t, s.Clear())
		if got := child.wait(t); strings.HasPrefix(got, "E") {
			t.Errorf("%s after clear: got %q, want the true answer", op, got)
		}
	}
}

func held(t *testing.T, s *faultfs.Server) int {
	t.Helper()
	status, err := s.Status()
	must(t, err)
	return status.Held
}

// A request that was read holds its caller in state D even after SIGKILL, as a real
// hung server does; Close must free it.
func TestHangSurvivesKillOfTheCaller(t *testing.T) {
	s := newServer(t)
	must(t, s.Hang(faultfs.Statfs))
	child := startTouch(t, "statfs", s.Mountpoint())
	eventually(t, "statfs is held", func() bool { return held(t, s) == 1 })
	must(t, child.cmd.Process.Kill())
	eventually(t, "the caller is in state D", func() bool { return state(t, child.cmd.Process.Pid) == "D" })
	must(t, s.Close())
	child.wait(t)
}

func state(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	must(t, err)
	return string(text[strings.LastIndex(string(text), ")")+2])
}

// A request that was not read lets its caller be killed.
func TestStopHangsBeforeReading(t *testing.T) {
	s := newServer(t)
	must(t, s.Stop())
	child := startTouch(t, "statfs", s.Mountpoint())
	eventually(t, "a request waits", func() bool { n, err := s.Waiting(); must(t, err); return n > 0 })
	if child.isDone() {
		t.Errorf("got %q from a stopped server", child.out.String())
	}
	must(t, s.Continue())
	if got := child.wait(t); got != "ok" {
		t.Errorf("after Continue: got %q, want ok", got)
	}

	must(t, s.Stop())
	victim := startTouch(t, "statfs", s.Mountpoint())
	eventually(t, "a request waits", func() bool { n, err := s.Waiting(); must(t, err); return n > 0 })
	must(t, victim.cmd.Process.Kill())
	victim.wait(t)
}

func TestStatusOfStoppedServerEnds(t *testing.T) {
	t.Parallel() // it waits for a deadline
	s := newServer(t)
	must(t, s.Stop())
	if _, err := s.Status(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
}

func TestSlow(t *testing.T) {
	const delay = 700 * time.Millisecond
	s := newServer(t)
	must(t, s.Slow(faultfs.Statfs, delay))
	begin := time.Now()
	expectTouch(t, "statfs", s.Mountpoint(), "ok")
	if took := time.Since(begin); took < delay {
		t.Errorf("statfs took %v, want at least %v", took, delay)
	}
	must(t, s.Slow(faultfs.Statfs, time.Hour))
	child := startTouch(t, "statfs", s.Mountpoint())
	eventually(t, "statfs is held", func() bool { return held(t, s) == 1 })
	must(t, s.Clear())
	if got := child.wait(t); got != "ok" {
		t.Errorf("after Clear: got %q, want ok", got)
	}
}

func TestKillLeavesADeadMount(t *testing.T) {
	s := newServer(t)
	must(t, s.Kill())
	for op, touch := range touchOf {
		if op != faultfs.Getattr {
			expectTouch(t, touch.what, filepath.Join(s.Mountpoint(), touch.below), "ENOTCONN")
		}
	}
	if !isMounted(t, s) {
		t.Error("the mount is gone, want it dead")
	}
	if err := s.Clear(); !errors.Is(err, faultfs.ErrServerGone) {
		t.Errorf("Clear of a dead server: got %v, want ErrServerGone", err)
	}
	must(t, s.Client.Kill())
}

func TestKillThroughTheSocket(t *testing.T) {
	s := newServer(t)
	must(t, s.Stop())
	must(t, s.Client.Kill())
	select {
	case <-s.Ended():
	case <-time.After(patience):
		t.Fatal("the server lives on")
	}
	expectTouch(t, "statfs", s.Mountpoint(), "ENOTCONN")
}

func TestAbortFreesWhoWaitsAndLeavesADeadMount(t *testing.T) {
	s := newServer(t)
	must(t, s.Hang(faultfs.Statfs))
	child := startTouch(t, "statfs", s.Mountpoint())
	eventually(t, "statfs is held", func() bool { return held(t, s) == 1 })
	must(t, s.Abort())
	if got := child.wait(t); got != "ECONNABORTED" {
		t.Errorf("held statfs: got %q, want ECONNABORTED", got)
	}
	expectTouch(t, "statfs", s.Mountpoint(), "ENOTCONN")
	if !isMounted(t, s) {
		t.Error("the mount is gone, want it dead")
	}
}

func TestAbortOfAStoppedServer(t *testing.T) {
	s := newServer(t)
	must(t, s.Stop())
	must(t, s.Abort())
	expectTouch(t, "statfs", s.Mountpoint(), "ENOTCONN")
}

// Cached attributes answer after the server died: the trap that statfs is there for.
func TestCachedAttributesHideDeath(t *testing.T) {
	s := newServer(t, func(o *faultfs.StartOptions) { o.CacheFor = time.Hour })
	expectTouch(t, "stat", s.Mountpoint(), "ok")
	must(t, s.Kill())
	expectTouch(t, "stat", s.Mountpoint(), "ok")
	expectTouch(t, "statfs", s.Mountpoint(), "ENOTCONN")
}

func TestCloseLeavesNothing(t *testing.T) {
	broken := map[string]func(*testing.T, *faultfs.Server){
		"healthy": func(*testing.T, *faultfs.Server) {},
		"hung":    func(t *testing.T, s *faultfs.Server) { must(t, s.Hang(faultfs.All)) },
		"stopped": func(t *testing.T, s *faultfs.Server) { must(t, s.Stop()) },
		"killed":  func(t *testing.T, s *faultfs.Server) { must(t, s.Kill()) },
		"aborted": func(t *testing.T, s *faultfs.Server) { must(t, s.Abort()) },
		"unmounted": func(t *testing.T, s *faultfs.Server) {
			must(t, unix.Unmount(s.Mountpoint(), unix.MNT_DETACH))
		},
	}
	for name, breakIt := range broken {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			breakIt(t, s)
			must(t, s.Close())
			must(t, s.Close())
			checkNothingLeft(t, s)
		})
	}
}

func checkNothingLeft(t *testing.T, s *faultfs.Server) {
	t.Helper()
	if isMounted(t, s) {
		t.Error("the mount is left")
	}
	if err := unix.Kill(s.Pid(), 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is left: %v", s.Pid(), err)
	}
	if _, err := os.Stat(filepath.Dir(s.Socket())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket's folder is left: %v", err)
	}
	if hasConnection(t, s.Connection()) {
		t.Errorf("FUSE connection %d is left", s.Connection())
	}
}

func isMounted(t *testing.T, s *faultfs.Server) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	return strings.Contains(string(text), " "+s.Mountpoint()+" ")
}

// hasConnection asks a fusectl of the test's own mount namespace.
func hasConnection(t *testing.T, n int) bool {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("fusectl", dir, "fusectl", 0, ""))
	defer func() { must(t, unix.Unmount(dir, 0)) }()
	_, err := os.Stat(filepath.Join(dir, strconv.Itoa(n)))
	return err == nil
}

func TestStartReportsWhatTheServerSaid(t *testing.T) {
	needRoot(t)
	for name, mountpoint := range map[string]string{
		"missing":  filepath.Join(t.TempDir(), "missing"),
		"relative": "relative",
	} {
		_, err := faultfs.Start(t.Context(), faultfs.StartOptions{Options: faultfs.Options{Mountpoint: mountpoint}})
		if err == nil || !strings.Contains(err.Error(), mountpoint) {
			t.Errorf("%s: got %v, want an error that names %q", name, err, mountpoint)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	needRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := faultfs.Start(ctx, faultfs.StartOptions{
		Options: faultfs.Options{Mountpoint: t.TempDir()},
		Command: []string{"/bin/sh", "-c", "exec sleep 3600"},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestSigtermUnmountsAlsoWhenHung(t *testing.T) {
	s := newServer(t)
	must(t, s.Hang(faultfs.All))
	must(t, unix.Kill(s.Pid(), unix.SIGTERM))
	select {
	case <-s.Ended():
	case <-time.After(patience):
		t.Fatal("the server ignores SIGTERM")
	}
	if isMounted(t, s) {
		t.Error("the mount is left")
	}
}
