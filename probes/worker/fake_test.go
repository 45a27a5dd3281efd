package worker

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/workertest"
	"github.com/mountwarden/mountwarden/probes/proc"
)

const (
	patience = 30 * time.Second
	short    = 3 * time.Second // the timeout of probes that are never answered
)

// The worker is this binary, which pretends.
func TestMain(m *testing.M) {
	if code, ok := workertest.Pretend(); ok {
		os.Exit(code)
	}
	if os.Getenv(agentEnv) != "" {
		os.Exit(runAgent())
	}
	if flag.Set("test.parallel", "4") != nil { // most of the time they wait for what never comes
		os.Exit(2)
	}
	goleak.VerifyTestMain(m)
}

// fakeNode is a /proc with one process, and a pool of fake workers.
type fakeNode struct {
	*Pool
	t      *testing.T
	root   string
	target *proc.Process
}

func newFakeNode(t *testing.T, opts Options) *fakeNode {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	n := &fakeNode{t: t, root: t.TempDir()}
	must(t, os.MkdirAll(filepath.Join(n.root, "42"), 0o755))
	must(t, os.Symlink("42", filepath.Join(n.root, "self")))
	n.setState("S")
	n.target, err = proc.Self(n.root)
	must(t, err)
	t.Cleanup(n.target.Release)
	opts.WorkerPath = exe
	n.Pool, err = New(opts)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close(context.Background())) })
	n.look(patience, "0:1 /warm") // a first worker has started, which takes long under the race detector
	return n
}

// startSpare has a second worker started, so that one is at hand when the first hangs.
func (n *fakeNode) startSpare() {
	n.t.Helper()
	n.look(patience, "0:1 /slow-1", "0:2 /slow-2")
}

// setState says what state the process is in: "S" lives, "Z" is gone.
func (n *fakeNode) setState(state string) {
	n.t.Helper()
	must(n.t, os.WriteFile(filepath.Join(n.root, "42", "status"), []byte("Name:\tapp\nState:\t"+state+"\n"), 0o600))
}

// tasks makes a task of each "device path"; the device "-" only walks.
func (n *fakeNode) tasks(lines ...string) (tasks []Task) {
	for _, line := range lines {
		device, path, _ := strings.Cut(line, " ")
		task := Task{Device: device, Target: n.target, Request: check.Request{MountID: 7, Path: path}}
		if device == "-" {
			task.Device, task.Request.MountID = "", 0
		}
		tasks = append(tasks, task)
	}
	return tasks
}

func (n *fakeNode) look(timeout time.Duration, lines ...string) []Result {
	n.t.Helper()
	results := n.Look(context.Background(), n.tasks(lines...), timeout)
	if len(results) != len(lines) {
		n.t.Fatalf("%d results of %d tasks", len(results), len(lines))
	}
	return results
}

// stopWorkers ends the idle workers.
func (n *fakeNode) stopWorkers() {
	n.t.Helper()
	n.mu.Lock()
	for w := range n.workers {
		w.killProcess()
	}
	n.mu.Unlock()
	eventually(n.t, "no worker is left", func() bool { return n.Stats().Workers == 0 })
}

// requireIdle requires that no probe leaves anything behind, but for the time that a worker may
// need to be seen idle.
func (n *fakeNode) requireIdle() {
	n.t.Helper()
	eventually(n.t, "nothing is under way", func() bool {
		s := n.Stats()
		return s.InFlight == 0 && s.Parked == 0 && len(n.slots) == 0
	})
}

func good(t *testing.T, r Result) {
	t.Helper()
	if r.Err != nil || !r.Since.IsZero() || r.Answer.Stage != check.StageStatx || r.Answer.Errno != 0 {
		t.Errorf("not good: %+v", r)
	}
}

func hung(t *testing.T, r Result, at check.Stage) {
	t.Helper()
	if r.Err != nil || r.Since.IsZero() || r.Stage != at || r.Answer != (check.Answer{}) {
		t.Errorf("not hung at stage %d: %+v", at, r)
	}
}

func failed(t *testing.T, r Result, text string) {
	t.Helper()
	if r.Err == nil || !strings.Contains(r.Err.Error(), text) || !r.Since.IsZero() {
		t.Errorf("no failure with %q: %+v", text, r)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
