package supervise

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// served is a supervisor with a control socket in a folder whose path is too long for a socket.
func served(t *testing.T, stages ...[]Component) (*Supervisor, Client) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := running(t, stages...)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return s, Client{Dir: dir}
}

func TestClientSeesStopsAndStarts(t *testing.T) {
	s, client := served(t, []Component{shell("a", forever)})
	awaitPhase(t, s, PhaseUp)
	ctx := context.Background()
	status := func() ComponentStatus {
		st, err := client.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return st.Components[0]
	}
	if c := status(); c.Name != "a" || c.State != Running {
		t.Errorf("%+v", c)
	}
	if err := client.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if c := status(); c.State != Stopped {
		t.Errorf("after stop: %+v", c)
	}
	if err := client.Start(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if c := status(); c.State != Running {
		t.Errorf("after start: %+v", c)
	}
	if err := client.Stop(ctx, "a b/c"); err == nil || err.Error() != "no such component: a b/c" {
		t.Errorf("stop of an unknown component: %v", err)
	}
}

func TestPIDIsTheListeners(t *testing.T) {
	_, client := served(t)
	pid, pidfd, err := client.PID(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	if pid != os.Getpid() {
		t.Errorf("got %d, want %d", pid, os.Getpid())
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
		t.Errorf("the pidfd is of no use: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	dead := t.TempDir()
	listener, err := Listen(dead)
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	for name, dir := range map[string]string{
		"no folder": filepath.Join(dead, "none"), "no socket": t.TempDir(), "dead socket": dead,
	} {
		client := Client{Dir: dir}
		if _, err := client.Status(context.Background()); !errors.Is(err, ErrDown) {
			t.Errorf("%s: status: %v", name, err)
		}
		if _, _, err := client.PID(context.Background()); !errors.Is(err, ErrDown) {
			t.Errorf("%s: pid: %v", name, err)
		}
	}
	again, err := Listen(dead)
	if err != nil {
		t.Fatalf("a dead socket is in the way: %v", err)
	}
	again.Close()
}
