package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tests here do not run in parallel: a reaper collects every child of the process.

// shell is a component that runs a shell script and is ready at once.
func shell(name, script string) Component {
	return Component{
		Name: name, Path: "/bin/sh", Args: []string{"-c", script},
		Ready: func(context.Context) error { return nil },
	}
}

const forever = "exec sleep 3600"

// running is a supervisor under test; the test's end stops it and waits for it.
func running(t *testing.T, stages ...[]Component) *Supervisor {
	t.Helper()
	s := New(t.TempDir(), stages)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func of(s *Supervisor, name string) ComponentStatus {
	for _, c := range s.Status().Components {
		if c.Name == name {
			return c
		}
	}
	return ComponentStatus{}
}

func awaitState(t *testing.T, s *Supervisor, name string, want State) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is %s", name, want), func() bool { return of(s, name).State == want })
}

func awaitPhase(t *testing.T, s *Supervisor, want Phase) {
	t.Helper()
	eventually(t, "phase "+string(want), func() bool { return s.Status().Phase == want })
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestStagesStartInOrder(t *testing.T) {
	gate := make(chan struct{})
	first := shell("first", forever)
	first.Ready = func(context.Context) error {
		select {
		case <-gate:
			return nil
		default:
			return errors.New("the gate is shut")
		}
	}
	s := running(t, []Component{first}, []Component{shell("second", forever)})
	eventually(t, "why first is not ready is told", func() bool { return of(s, "first").NotYet == "the gate is shut" })
	if got := of(s, "second").State; got != Waiting {
		t.Errorf("second is %s before first is ready", got)
	}
	close(gate)
	awaitPhase(t, s, PhaseUp)
	for _, name := range []string{"first", "second"} {
		c := of(s, name)
		if c.State != Running || c.PID == 0 || c.NotYet != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestDeathBeforeReadyFails(t *testing.T) {
	dying := shell("dying", "echo the reason; exit 3")
	dying.Ready = func(context.Context) error { return errors.New("never") }
	s := running(t, []Component{dying}, []Component{shell("next", forever)})
	awaitPhase(t, s, PhaseFailed)
	c := of(s, "dying")
	if c.State != Died || c.Ended != "exit status 3" || c.LogTail != "the reason" || c.PID != 0 {
		t.Errorf("%+v", c)
	}
	if got := of(s, "next").State; got != Waiting {
		t.Errorf("next is %s although what it needs has died", got)
	}
}

func TestMissingProgramFails(t *testing.T) {
	missing := shell("missing", "")
	missing.Path = "/no/such/program"
	s := running(t, []Component{missing})
	awaitPhase(t, s, PhaseFailed)
	if c := of(s, "missing"); c.State != Died || !strings.Contains(c.Ended, "no such file") {
		t.Errorf("%+v", c)
	}
}

func TestDeathLaterIsToldAndNothingRestarted(t *testing.T) {
	s := running(t, []Component{shell("a", "echo hello; "+forever), shell("b", forever)})
	awaitPhase(t, s, PhaseUp)
	eventually(t, "a has said hello", func() bool { return Tail(LogFile(s.logs, "a")) == "hello" })
	if err := syscall.Kill(of(s, "a").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitState(t, s, "a", Died)
	if c := of(s, "a"); c.Ended != "killed by signal 9 (killed)" || c.LogTail != "hello" {
		t.Errorf("%+v", c)
	}
	if c := of(s, "b"); c.State != Running {
		t.Errorf("b is %s", c.State)
	}
	if phase := s.Status().Phase; phase != PhaseUp {
		t.Errorf("phase %s", phase)
	}
}

func TestStopAndStart(t *testing.T) {
	s := running(t, []Component{shell("a", "echo run; trap '' TERM; while :; do sleep 1; done")})
	awaitPhase(t, s, PhaseUp)
	ctx := context.Background()
	pid := of(s, "a").PID
	if err := s.Start(ctx, "a"); !errors.Is(err, ErrRunning) {
		t.Errorf("start of what runs: %v", err)
	}
	eventually(t, "it has written", func() bool { return Tail(LogFile(s.logs, "a")) == "run" })
	if err := s.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if c := of(s, "a"); c.State != Stopped || c.LogTail != "" || alive(pid) {
		t.Errorf("after stop: %+v, process %d alive: %v", c, pid, alive(pid))
	}
	if err := s.Stop(ctx, "a"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("stop of what does not run: %v", err)
	}
	if err := s.Start(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if c := of(s, "a"); c.State != Running || c.PID == pid {
		t.Errorf("after start: %+v", c)
	}
	eventually(t, "the log goes on", func() bool { return Tail(LogFile(s.logs, "a")) == "run\nrun" })
}

func TestStartOfWhatDiesAgain(t *testing.T) {
	flag := filepath.Join(t.TempDir(), "flag")
	s := running(t, []Component{shell("a", "test -e "+flag+" && exit 9; : > "+flag+"; "+forever)})
	awaitPhase(t, s, PhaseUp)
	eventually(t, "the first run is past its test", func() bool { _, err := os.Stat(flag); return err == nil })
	if err := s.Stop(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	u, err := s.find("a")
	if err != nil {
		t.Fatal(err)
	}
	u.Ready = func(context.Context) error { return errors.New("not ready") }
	if err := s.Start(context.Background(), "a"); !errors.Is(err, ErrDied) {
		t.Errorf("got %v", err)
	}
	if c := of(s, "a"); c.State != Died || c.Ended != "exit status 9" {
		t.Errorf("%+v", c)
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	s := running(t, []Component{shell("a", forever)})
	awaitPhase(t, s, PhaseUp)
	if err := s.Stop(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	u, _ := s.find("a")
	reason := errors.New("still asleep")
	u.Ready = func(context.Context) error { return reason }
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Start(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}

func TestUnknownComponent(t *testing.T) {
	s := running(t, []Component{shell("a", forever)})
	for name, do := range map[string]func(context.Context, string) error{"stop": s.Stop, "start": s.Start} {
		if err := do(context.Background(), "z"); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndOfRunKillsEverything(t *testing.T) {
	s := New(t.TempDir(), [][]Component{{shell("a", forever), shell("b", forever)}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	awaitPhase(t, s, PhaseUp)
	pids := []int{of(s, "a").PID, of(s, "b").PID}
	cancel()
	<-done
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is alive", pid)
		}
	}
	if err := s.Start(context.Background(), "a"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a component starts after the end: %v", err)
	}
}

// An orphan comes to the nearest subreaper, as it would to pid 1 of the namespace.
func TestOrphansAreReaped(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	file := filepath.Join(t.TempDir(), "pid")
	s := running(t, []Component{shell("parent", "(sh -c 'echo $$ > "+file+".new; mv "+file+".new "+file+"; exit 5' &); "+forever)})
	awaitPhase(t, s, PhaseUp)
	var orphan int
	eventually(t, "the orphan has run", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		orphan, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	eventually(t, "the orphan is reaped", func() bool { return !alive(orphan) })
	if c := of(s, "parent"); c.State != Running {
		t.Errorf("its parent is %s", c.State)
	}
}
