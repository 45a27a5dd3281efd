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

const threadedEnv = "MOUNTWARDEN_PROC_LEAVER"

// The main goroutine runs on the first thread, the leader, until TestMain returns.
func TestMain(m *testing.M) {
	if os.Getenv(threadedEnv) != "" {
		exitFirstThread()
	}
	os.Exit(m.Run())
}

// exitFirstThread ends the leader, once asked to, and leaves a thread that lives until standard
// input ends.
func exitFirstThread() {
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

// threadedProcess is a process that can lose its leader.
type threadedProcess struct {
	pid   int
	stdin io.WriteCloser
}

func startThreadedProcess(t *testing.T) threadedProcess {
	t.Helper()
	child := exec.Command("/proc/self/exe")
	child.Env = append(os.Environ(), threadedEnv+"=1")
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
	return threadedProcess{child.Process.Pid, stdin}
}

// exitLeader ends the leader and returns when p, which was held before, says so.
func (l threadedProcess) exitLeader(t *testing.T, p *Process) {
	t.Helper()
	if _, err := io.WriteString(l.stdin, "leave\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the leader is a zombie", func() bool { return errors.Is(p.Check(), ErrGone) })
}

func eventually(t *testing.T, what string, ok func() bool) {
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

// The kernel shows no mounts of a leader that has exited, while the process lives on in its
// threads.
func TestLeaderExitsAndThreadsLive(t *testing.T) {
	l := startThreadedProcess(t)
	leader, err := openProcess("/proc", l.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Release()
	l.exitLeader(t, leader)
	if text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(l.pid), "mountinfo")); len(text) != 0 {
		t.Fatalf("the leader still has mounts, so this test proves nothing: %v", err)
	}

	thread, err := openProcess("/proc", l.pid)
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
	eventually(t, "no thread is left", func() bool {
		p, err := openProcess("/proc", l.pid)
		if err == nil {
			p.Release()
		}
		return errors.Is(err, ErrGone)
	})
	if err := thread.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("the thread that was held: %v", err)
	}
}
