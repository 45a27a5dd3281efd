package space

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFurnishRefusesTheHost(t *testing.T) {
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if err := (Inside{Dir: t.TempDir()}).Furnish(context.Background()); err == nil || !strings.Contains(err.Error(), "host") {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the mounts have changed: %v", err)
	}
}

// elsewhere is a process in namespaces of its own, with a mount that the host does not have.
func elsewhere(t *testing.T, marker string) (pidfd int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("makes namespaces: needs root")
	}
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c",
		"mount -t proc proc /proc && mount -t tmpfs "+marker+" /mnt && : > "+ready+" && exec sleep 3600")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS, // which also makes every mount private
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has killed it
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pidfd) })
	await(t, ready)
	return pidfd
}

func await(t *testing.T, file string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		if _, err := os.Stat(file); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never came", file)
		}
	}
}

func TestRunIsInside(t *testing.T) {
	pidfd := elsewhere(t, "marker-of-inside")
	here := t.TempDir()
	cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", "cat /proc/self/mounts; readlink /proc/self/ns/net; pwd; cat /proc/1/comm")
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout = here, &out
	if err := Run(context.Background(), pidfd, cmd); err != nil {
		t.Fatal(err)
	}
	net, err := os.Readlink("/proc/thread-self/ns/net") // /proc/self shows the first thread, which Run may have sent inside
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"marker-of-inside", "\n" + here + "\n", "\nsleep\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), net) {
		t.Error("it runs in the network namespace of the host")
	}
	mounts, err := os.ReadFile("/proc/thread-self/mounts")
	if err != nil || bytes.Contains(mounts, []byte("marker-of-inside")) {
		t.Errorf("we are inside, too: %v", err)
	}
}

func TestRunPassesTheExitStatusOn(t *testing.T) {
	pidfd := elsewhere(t, "x")
	err := Run(context.Background(), pidfd, exec.CommandContext(context.Background(), "/bin/sh", "-c", "exit 7"))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	pidfd := elsewhere(t, "x")
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "trap 'exit 5' TERM; : > "+ready+"; while :; do sleep 0.1; done")
	ended := make(chan error)
	go func() { ended <- Run(ctx, pidfd, cmd) }()
	await(t, ready)
	cancel()
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("it was not asked to end: %v", err)
	}
}

func TestRunWhereNobodyIs(t *testing.T) {
	if err := Run(context.Background(), -1, exec.CommandContext(context.Background(), "/bin/true")); err == nil {
		t.Error("no error for a bad pidfd")
	}
}
