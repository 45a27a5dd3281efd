package proc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const leaverEnv = "MOUNTWARDEN_PROC_LEAVER"

// The main goroutine runs on the first thread, the leader, until TestMain returns.
func TestMain(m *testing.M) {
	if os.Getenv(leaverEnv) != "" {
		leave()
	}
	os.Exit(m.Run())
}

// leave ends the leader, once told to, and leaves a thread that lives until standard input ends.
func leave() {
	runtime.LockOSThread()
	runtime.GOMAXPROCS(4) // the leader takes its processor with it
	lines := bufio.NewReader(os.Stdin)
	_, _ = fmt.Fprintln(os.Stdout, "ready") // who waits for it sees it fail
	_, _ = lines.ReadString('\n')           // an error ends it as well
	go func() {
		runtime.LockOSThread()
		_, _ = io.Copy(io.Discard, lines)
		os.Exit(0)
	}()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // this thread only; it does not return
}

// leaver is a process that can lose its leader.
type leaver struct {
	pid   int
	stdin io.WriteCloser
}

func newLeaver(t *testing.T) leaver {
	t.Helper()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), leaverEnv+"=1")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill() // gone already
		_ = child.Wait()         // was killed
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("%q %v", line, err)
	}
	return leaver{child.Process.Pid, stdin}
}

// leave ends the leader and returns when p, which was held before, says so.
func (l leaver) leave(t *testing.T, p *Process) {
	t.Helper()
	if _, err := io.WriteString(l.stdin, "leave\n"); err != nil {
		t.Fatal(err)
	}
	within30s(t, "the leader is a zombie", func() bool { return errors.Is(p.Check(), ErrGone) })
}

func within30s(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("not within 30 s: ", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// The kernel shows no mounts of a leader that has exited, while the process lives on in its threads.
func TestLeaderExitsAndThreadsLive(t *testing.T) {
	l := newLeaver(t)
	leader, err := open("/proc", l.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Release()
	l.leave(t, leader)
	if text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.pid), "mountinfo")); len(text) != 0 {
		t.Fatalf("the leader still has mounts, so this test proves nothing: %v", err)
	}

	thread, err := open("/proc", l.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer thread.Release()
	if thread.PID != leader.PID || thread.Serial == leader.Serial {
		t.Errorf("process %d was held as %d, and is held as process %d, %d", leader.PID, leader.Serial, thread.PID, thread.Serial)
	}
	if text, err := thread.Read("mountinfo"); err != nil || text == "" {
		t.Errorf("mounts of the living thread: %q %v", text, err)
	}
	if err := thread.Check(); err != nil {
		t.Error(err)
	}

	if err := l.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	within30s(t, "no thread is left", func() bool {
		p, err := open("/proc", l.pid)
		if err == nil {
			p.Release()
		}
		return errors.Is(err, ErrGone)
	})
	if err := thread.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("the thread that was held: %v", err)
	}
}
