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

// addProcesses adds processes to the fake node.
func (n *fakeNode) addProcesses(count int) (all []*proc.Process) {
	n.t.Helper()
	for pid := 100; pid < 100+count; pid++ {
		dir := filepath.Join(n.root, fmt.Sprint(pid))
		must(n.t, os.MkdirAll(dir, 0o755))
		must(n.t, os.WriteFile(filepath.Join(dir, "status"), []byte("State:\tS\n"), 0o600))
		p, err := proc.Hold(n.root, pid)
		must(n.t, err)
		n.t.Cleanup(p.Release)
		all = append(all, p)
	}
	return all
}

// task is a probe of a device through a target.
func task(target *proc.Process, device int, path string) Task {
	return Task{Device: fmt.Sprintf("8:%d", device), Target: target, Request: check.Request{MountID: 7, Path: path}}
}

// queueTogether calls ask, waits until that many batches are queued, and frees the worker, which
// runs them together.
func (n *fakeNode) queueTogether(waiting int, ask func()) {
	n.t.Helper()
	n.slots <- struct{}{} // somebody is at work
	ask()
	eventually(n.t, "all are queued", func() bool { return n.queueLength() == waiting })
	<-n.slots
	n.workerIdle <- struct{}{}
}

// newQueueNode is a fakeNode with one idle worker, for which a batch waits as long as it takes.
func newQueueNode(t *testing.T) *fakeNode {
	t.Helper()
	n := newFakeNode(t, Options{})
	n.startAfter = time.Minute
	return n
}

func (n *fakeNode) queueLength() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting)
}

// Batches that wait for a worker share it, whatever processes they go through.
func TestQueuedBatchesShareAWorker(t *testing.T) {
	t.Parallel()
	const pods, mounts = 4, 30
	n := newQueueNode(t)
	n.dispatcher.cutAfter, n.dispatcher.parkAfter = time.Minute, time.Minute
	var all sync.WaitGroup
	results := make([][]Result, pods)
	targets := n.addProcesses(pods)
	n.queueTogether(pods, func() {
		for i, target := range targets {
			tasks := []Task{task(target, i*mounts, "/slow")} // still under way when the queue is read
			for m := 1; m < mounts; m++ {
				tasks = append(tasks, task(target, i*mounts+m, "/good"))
			}
			all.Go(func() { results[i] = n.Look(context.Background(), tasks, patience) })
		}
	})
	left := -1
	eventually(t, "a batch runs", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		left = len(n.waiting)
		return len(n.batches) > 0
	})
	if left != 0 {
		t.Errorf("%d of %d pods were left in the queue", left, pods)
	}
	all.Wait()
	for _, of := range results {
		for _, r := range of {
			good(t, r)
		}
	}
	if s := n.Stats(); s.Workers != 1 {
		t.Errorf("%d probes took more than one worker: %+v", pods*mounts, s)
	}
}

// A pod that is gone, hangs, or lets its worker end takes nothing from those whose batches run
// with its own.
func TestJoinedBatchesAreIndependent(t *testing.T) {
	t.Parallel()
	for what, seen := range map[string]func(t *testing.T, r Result){
		"gone":     func(t *testing.T, r Result) { t.Helper(); failed(t, r, proc.ErrGone.Error()) },
		"hang":     func(t *testing.T, r Result) { t.Helper(); hung(t, r, check.StageStatfs) },
		"crash":    func(t *testing.T, r Result) { t.Helper(); failed(t, r, "exit status 3") },
		"scribble": func(t *testing.T, r Result) { t.Helper(); failed(t, r, "malformed") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := newQueueNode(t)
			targets := n.addProcesses(3)
			results := make([]Result, len(targets))
			var all sync.WaitGroup
			n.queueTogether(len(targets), func() {
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
			if what != "scribble" { // it has overwritten the others' answers
				good(t, results[0])
				good(t, results[2])
			}
		})
	}
}

// Each call has its own deadline: the one whose deadline passes gets the hang, the other gets its
// answer.
func TestDeadlinesOfJoinedBatchesDiffer(t *testing.T) {
	t.Parallel()
	n := newQueueNode(t)
	n.dispatcher.cutAfter, n.dispatcher.parkAfter = time.Minute, time.Minute
	targets := n.addProcesses(2)
	var all sync.WaitGroup
	var brief, patient Result
	n.queueTogether(2, func() {
		all.Go(func() { brief = n.Look(context.Background(), []Task{task(targets[0], 0, "/hang")}, 2*time.Second)[0] })
		eventually(t, "it is the first in the queue", func() bool { return n.queueLength() == 1 })
		all.Go(func() { patient = n.Look(context.Background(), []Task{task(targets[1], 1, "/good")}, patience)[0] })
	})
	all.Wait()
	hung(t, brief, check.StageStatfs)
	good(t, patient)
}

// A call that is cancelled while in the queue returns at once, and leaves nothing behind.
func TestCancelInTheQueue(t *testing.T) {
	t.Parallel()
	n := newQueueNode(t)
	ctx, cancel := context.WithCancel(context.Background())
	var result Result
	var all sync.WaitGroup
	n.slots <- struct{}{} // somebody is at work
	all.Go(func() { result = n.Look(ctx, n.tasks("0:2 /good"), patience)[0] })
	eventually(t, "it is queued", func() bool { return n.queueLength() == 1 })
	cancel()
	all.Wait()
	failed(t, result, context.Canceled.Error())
	<-n.slots
	if n.queueLength() != 0 {
		t.Error("it is still queued")
	}
	n.requireIdle()
}

// Jobs that are resubmitted after one of their batch has hung run by themselves, so that a second
// hang costs nobody else any time.
func TestResubmittedBatchIsExclusive(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	alone := newBatch(newJob(&call{}, 0, task(n.target, 1, "/a")))
	alone.exclusive = true
	fellow := newBatch(newJob(&call{}, 0, task(n.target, 2, "/b")))
	other := newBatch(newJob(&call{}, 0, task(n.target, 3, "/c")))
	as := newBatch(newJob(&call{}, 0, Task{Device: "8:4", Target: n.target, Request: check.Request{Path: "/d"}, As: &Credential{UID: 1, GID: 1}}))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting = []*batch{alone, other, as}
	if joiners := n.takeJoiners(fellow); len(joiners) != 1 || joiners[0] != other || len(n.waiting) != 2 {
		t.Errorf("%d joined, %d are left in the queue", len(joiners), len(n.waiting))
	}
	n.waiting = append(n.waiting, newBatch(newJob(&call{}, 0, task(n.target, 5, "/e"))))
	if joiners := n.takeJoiners(alone); len(joiners) != 0 {
		t.Errorf("%d joined an exclusive batch", len(joiners))
	}
	n.waiting = nil
}
