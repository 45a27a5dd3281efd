package worker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// others adds processes to the fake node.
func (n *fakeNode) others(count int) (all []*proc.Process) {
	n.t.Helper()
	for pid := 100; pid < 100+count; pid++ {
		folder := filepath.Join(n.root, fmt.Sprint(pid))
		must(n.t, os.MkdirAll(folder, 0o755))
		must(n.t, os.WriteFile(filepath.Join(folder, "status"), []byte("State:\tS\n"), 0o600))
		p, err := proc.Hold(n.root, pid)
		must(n.t, err)
		n.t.Cleanup(p.Release)
		all = append(all, p)
	}
	return all
}

// task is a look at a device through a target.
func task(target *proc.Process, device int, path string) Task {
	return Task{Device: fmt.Sprintf("8:%d", device), Target: target, Request: check.Request{MountID: 7, Path: path}}
}

// crew returns when so many batches that ask has begun wait in line, and lets them go: they fly together.
func (n *fakeNode) crew(waiting int, ask func()) {
	n.t.Helper()
	n.slots <- struct{}{} // somebody is at work
	ask()
	eventually(n.t, "all wait in line", func() bool { return n.inLine() == waiting })
	<-n.slots
	n.rested <- struct{}{}
}

// newCrew is a fakeNode with one idle worker, for which a look waits as long as it takes.
func newCrew(t *testing.T) *fakeNode {
	t.Helper()
	n := newFakeNode(t, Options{})
	n.startAfter = time.Minute
	return n
}

func (n *fakeNode) inLine() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting)
}

// What waits for a worker flies with it, whatever process it goes through.
func TestOneWorkerTakesAllAlong(t *testing.T) {
	t.Parallel()
	const pods, mounts = 4, 30
	n := newCrew(t)
	n.turns.cutAfter, n.turns.parkAfter = time.Minute, time.Minute
	var all sync.WaitGroup
	results := make([][]Result, pods)
	targets := n.others(pods)
	n.crew(pods, func() {
		for i, target := range targets {
			tasks := []Task{task(target, i*mounts, "/slow")} // so that the first is still under way when we come to see
			for m := 1; m < mounts; m++ {
				tasks = append(tasks, task(target, i*mounts+m, "/good"))
			}
			all.Go(func() { results[i] = n.Look(context.Background(), tasks, patience) })
		}
	})
	left := -1
	eventually(t, "somebody flies", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		left = len(n.waiting)
		return len(n.batches) > 0
	})
	if left != 0 {
		t.Errorf("%d of %d pods were left in line", left, pods)
	}
	all.Wait()
	for _, of := range results {
		for _, r := range of {
			good(t, r)
		}
	}
	if s := n.Stats(); s.Workers != 1 {
		t.Errorf("%d looks took more than one worker: %+v", pods*mounts, s)
	}
}

// A pod that is gone, hangs, or lets its worker end takes nothing from those that fly with it.
func TestWhoFliesAlongIsNotDisturbed(t *testing.T) {
	t.Parallel()
	for what, seen := range map[string]func(t *testing.T, r Result){
		"gone":     func(t *testing.T, r Result) { t.Helper(); failed(t, r, proc.ErrGone.Error()) },
		"hang":     func(t *testing.T, r Result) { t.Helper(); hung(t, r, check.StageStatfs) },
		"crash":    func(t *testing.T, r Result) { t.Helper(); failed(t, r, "exit status 3") },
		"scribble": func(t *testing.T, r Result) { t.Helper(); failed(t, r, "malformed") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := newCrew(t)
			targets := n.others(3)
			results := make([]Result, len(targets))
			var all sync.WaitGroup
			n.crew(len(targets), func() {
				for i, target := range targets {
					path := "/good"
					if i == 1 {
						path = "/" + what
					}
					all.Go(func() { results[i] = n.Look(context.Background(), []Task{task(target, i, path)}, short)[0] })
				}
				if what == "gone" {
					targets[1].Release() // as a Finder does
				}
			})
			all.Wait()
			seen(t, results[1])
			if what != "scribble" { // it has destroyed what the others' answers were written on
				good(t, results[0])
				good(t, results[2])
			}
		})
	}
}

// Each asker's time ends by itself: the one who has none left is told of the hang, the other gets the answer.
func TestTimesOfOneFlightDiffer(t *testing.T) {
	t.Parallel()
	n := newCrew(t)
	n.turns.cutAfter, n.turns.parkAfter = time.Minute, time.Minute
	targets := n.others(2)
	var all sync.WaitGroup
	var brief, patient Result
	n.crew(2, func() {
		all.Go(func() { brief = n.Look(context.Background(), []Task{task(targets[0], 0, "/hang")}, 2*time.Second)[0] })
		eventually(t, "it is the first in line", func() bool { return n.inLine() == 1 })
		all.Go(func() { patient = n.Look(context.Background(), []Task{task(targets[1], 1, "/good")}, patience)[0] })
	})
	all.Wait()
	hung(t, brief, check.StageStatfs)
	good(t, patient)
}

// Who is called off while in line is told at once, and leaves no trace.
func TestCalledOffInLine(t *testing.T) {
	t.Parallel()
	n := newCrew(t)
	ctx, cancel := context.WithCancel(context.Background())
	var result Result
	var all sync.WaitGroup
	n.slots <- struct{}{} // somebody is at work
	all.Go(func() { result = n.Look(ctx, n.tasks("0:2 /good"), patience)[0] })
	eventually(t, "it waits in line", func() bool { return n.inLine() == 1 })
	cancel()
	all.Wait()
	failed(t, result, context.Canceled.Error())
	<-n.slots
	if n.inLine() != 0 {
		t.Error("it still waits in line")
	}
	n.idle()
}

// What is sent again after one of its batch has hung flies by itself, so that a second hang costs nobody else any time.
func TestWhoIsSentAgainFliesAlone(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	alone := newBatch(newFlight(&asker{}, 0, task(n.target, 1, "/a")))
	alone.alone = true
	fellow := newBatch(newFlight(&asker{}, 0, task(n.target, 2, "/b")))
	other := newBatch(newFlight(&asker{}, 0, task(n.target, 3, "/c")))
	as := newBatch(newFlight(&asker{}, 0, Task{Device: "8:4", Target: n.target, Request: check.Request{Path: "/d"}, As: &Credential{UID: 1, GID: 1}}))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = []*batch{alone, other, as}
	if along := n.boarders(fellow); len(along) != 1 || along[0] != other || len(n.waiting) != 2 {
		t.Errorf("takes along %d, leaves %d in line", len(along), len(n.waiting))
	}
	n.waiting = append(n.waiting, newBatch(newFlight(&asker{}, 0, task(n.target, 5, "/e"))))
	if along := n.boarders(alone); len(along) != 0 {
		t.Errorf("alone it takes %d along", len(along))
	}
	n.waiting = nil
}
