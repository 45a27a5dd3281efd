package worker

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

func TestOptions(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	exe, err := os.Executable()
	must(t, err)
	for name, opts := range map[string]Options{
		"no worker beside this executable": {},
		"no such worker":                   {WorkerPath: "/nowhere"},
		"not executable":                   {WorkerPath: plain},
		"negative":                         {WorkerPath: exe, MaxParked: -1},
	} {
		if p, err := New(opts); err == nil {
			t.Errorf("%s: accepted", name)
			must(t, p.Close(context.Background()))
		}
	}
}

func TestWorkersThatFail(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	for line, detail := range map[string]string{"0:2 /crash": "exit status 3", "0:3 /garbage": "killed",
		"0:4 /flood": errProtocol.Error(), "0:4 /scribble": "malformed", "0:4 /mad": "malformed"} {
		failed(t, n.look(patience, line)[0], detail)
	}
	good(t, n.look(patience, "0:5 /a")[0])
	n.requireIdle()
	if s := n.Stats(); s.Undropped != "bounding set" {
		t.Errorf("%+v", s)
	}
}

func TestWorkerThatCannotStart(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	n.stopWorkers()
	n.spawner.path = filepath.Join(n.root, "none")
	failed(t, n.look(patience, "0:2 /a")[0], "start worker")
	n.requireIdle()
}

func TestIdleWorkersAreKilled(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{IdleAfter: time.Millisecond})
	n.look(patience, "0:2 /slow-1", "0:3 /slow-2", "0:4 /slow-3", "0:5 /slow-4")
	if s := n.Stats(); s.Workers < 3 {
		t.Fatalf("4 probes at once took %d workers", s.Workers)
	}
	eventually(t, "two are left", func() bool {
		s := n.Stats()
		return s.Workers == keepIdle && s.Idle == keepIdle
	})
}

func TestParkedWorkerEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	hung(t, n.look(short, "0:2 /hang")[0], check.StageStatfs)
	n.setState("Z")
	eventually(t, "worker ended", func() bool { return n.Stats().Workers == 0 })
}

func TestClose(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	hung(t, n.look(short, "0:2 /hang")[0], check.StageStatfs)
	must(t, n.Close(context.Background()))
	must(t, n.Close(context.Background()))
	if s := n.Stats(); s.Workers != 0 || s.InFlight != 0 || s.Parked != 0 {
		t.Errorf("left behind: %+v", s)
	}
	failed(t, n.look(patience, "0:3 /a")[0], "")
}

// When no more can be parked, a target that has workers under way gets no further ones; other
// targets do.
func TestParkedLimitOfATarget(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxParked: 1})
	b, other := &batch{target: n.target}, &batch{target: &proc.Process{PID: 1}}
	expect := func(refused bool) {
		t.Helper()
		if err := n.checkParkedLimit(b); (err != nil) != refused {
			t.Errorf("refused %t: %v", !refused, err)
		}
		if err := n.checkParkedLimit(other); err != nil {
			t.Errorf("another target was refused: %v", err)
		}
	}
	expect(false)
	hung(t, n.look(short, "0:2 /hang")[0], check.StageStatfs)
	expect(false)
	n.mu.Lock()
	n.batches[&batch{targets: []*proc.Process{n.target}}] = struct{}{}
	n.batches[&batch{targets: []*proc.Process{{PID: 2}, n.target}, abandoned: true}] = struct{}{}
	n.mu.Unlock()
	expect(true)
	failed(t, n.look(patience, "0:3 /a")[0], errFull.Error())
	n.setState("Z") // ends the parked one
	eventually(t, "there is room again", func() bool { return n.Stats().Parked == 0 })
	expect(false)
	good(t, n.look(patience, "0:3 /a")[0])
}

func TestCloseDuringABatch(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	lines := fullBatch()
	copy(lines[60:], []string{"0:2 /hang", "0:3 /slow", "0:4 /walk", "0:5 /idle"})
	done := make(chan []Result)
	go func() { done <- n.Look(context.Background(), n.tasks(lines...), patience) }()
	eventually(t, "some hang", func() bool { return n.Stats().Parked >= 1 })
	must(t, n.Close(context.Background()))
	seen := <-done
	for _, r := range seen {
		if r.Err == nil {
			good(t, r)
		}
	}
	failed(t, seen[60], "")
	n.requireIdle()
	if len(n.dispatcher.holders) != 0 {
		t.Errorf("locks were not released: %v", n.dispatcher.holders)
	}
}
