package faultfs_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// newProgram starts a server that is a program which does not know the control socket of Start:
// faultfs with a socket of its own. It waits until that is ready, as faultfs looks at its mount
// itself before: it can neither stop nor end while one of its threads waits for another.
func newProgram(t *testing.T) *faultfs.Server {
	t.Helper()
	dir := t.TempDir()
	s := newServer(t, func(o *faultfs.StartOptions) {
		o.Control = filepath.Join(dir, "control")
		o.Program = []string{"/proc/self/exe", "--mountpoint=" + o.Mountpoint, "--control=" + ownSocket(dir), "--content=tweet"}
	})
	eventually(t, "the program is ready", func() bool { return faultfs.NewClient(ownSocket(dir)).Alive() })
	return s
}

func ownSocket(dir string) string { return filepath.Join(dir, "own") }

func TestProgramServes(t *testing.T) {
	s := newProgram(t)
	expectTouch(t, "read", canary(s), "tweet")
	if pid := statusOf(t, ownSocket(filepath.Dir(s.Socket()))).PID; pid != s.Pid() {
		t.Errorf("the program is process %d, and %d is behind the control socket", pid, s.Pid())
	}
	if n, err := faultfs.ConnectionAt(s.Mountpoint()); err != nil || n != s.Connection() {
		t.Errorf("connection %d, %v, want %d", n, err, s.Connection())
	}
	must(t, s.Close())
	if _, err := faultfs.ConnectionAt(s.Mountpoint()); !errors.Is(err, faultfs.ErrNotMounted) {
		t.Errorf("after Close: %v, want ErrNotMounted", err)
	}
}

func statusOf(t *testing.T, socket string) faultfs.Status {
	t.Helper()
	status, err := faultfs.NewClient(socket).Status()
	must(t, err)
	return status
}

// A Client that is not the parent knows the program by the socket alone.
func TestSignalsReachTheProgram(t *testing.T) {
	s := newProgram(t)
	c := faultfs.NewClient(s.Socket())
	if !c.Alive() {
		t.Error("it does not live")
	}
	must(t, c.Stop())
	if got := state(t, s.Pid()); got != "T" {
		t.Errorf("state %s after Stop, want T", got)
	}
	must(t, c.Continue())
	expectTouch(t, "read", canary(s), "tweet")
	must(t, c.Kill())
	<-s.Ended()
	if c.Alive() {
		t.Error("it lives after Kill")
	}
	expectTouch(t, "statfs", s.Mountpoint(), unix.ErrnoName(unix.ENOTCONN))
}

func TestAbortEndsTheProgram(t *testing.T) {
	s := newProgram(t)
	must(t, faultfs.NewClient(s.Socket()).Abort())
	<-s.Ended()
	expectTouch(t, "statfs", s.Mountpoint(), unix.ErrnoName(unix.ENOTCONN))
}

func TestProgramHasNoFaults(t *testing.T) {
	s := newProgram(t)
	for name, call := range map[string]func() error{
		"hang":   func() error { return s.Hang(faultfs.All) },
		"clear":  s.Clear,
		"status": func() error { _, err := s.Status(); return err },
	} {
		if err := call(); !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), "/proc/self/exe") {
			t.Errorf("%s: got %v, want an ErrUsage that names the program", name, err)
		}
	}
}

func TestProgramThatDoesNotMount(t *testing.T) {
	needRoot(t)
	for line, named := range map[string]string{
		"no-such-program":   "no-such-program",
		"false":             "ended before it mounted",
		"tail -f /dev/null": "deadline exceeded",
	} {
		opts := faultfs.StartOptions{Program: strings.Fields(line)}
		opts.Mountpoint = t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := faultfs.Start(ctx, opts)
		cancel()
		if err == nil || !strings.Contains(err.Error(), named) {
			t.Errorf("%s: got %v, want an error that says %q", line, err, named)
		}
	}
}
