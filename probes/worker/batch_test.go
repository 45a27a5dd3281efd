package worker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

// fullBatch has as many good probes as one batch can hold, each at a device of its own.
func fullBatch() (lines []string) {
	for i := range check.MaxItems {
		lines = append(lines, fmt.Sprintf("1:%d /good-%d", i, i))
	}
	return lines
}

func TestOneWorkerMakesABatch(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{ParkAfter: time.Minute})
	n.dispatcher.cutAfter = time.Minute
	lines := fullBatch()
	for range 10 {
		lines = append(lines, "1:7 /again") // of a device that the batch has already
	}
	for _, r := range n.look(patience, lines[10:]...) {
		good(t, r)
	}
	if s := n.Stats(); s.Workers != 1 || s.Idle != 1 {
		t.Errorf("%d probes took more than the first worker: %+v", check.MaxItems, s)
	}
	for _, r := range n.look(patience, lines...) { // does not fit in one
		good(t, r)
	}
	n.requireIdle()
}

func TestLongPathsAreSplit(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	var lines []string
	for i := range check.MaxItems {
		lines = append(lines, fmt.Sprintf("1:%d /%s/good", i, strings.Repeat("x", check.MaxPath-10)))
	}
	for _, r := range n.look(patience, lines...) {
		good(t, r)
	}
}

func TestOneOfABatchHangs(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 31, check.MaxItems - 1} {
		t.Run(fmt.Sprint("item ", at), func(t *testing.T) {
			t.Parallel()
			n := newFakeNode(t, Options{})
			lines := fullBatch()
			lines[at] = "0:2 /hang"
			var since time.Time
			for range 2 { // the second time it is known
				for i, r := range n.look(short, lines...) {
					if i != at {
						good(t, r)
						continue
					}
					hung(t, r, check.StageStatfs)
					if !since.IsZero() && !since.Equal(r.Since) {
						t.Errorf("hangs since %s, then since %s", since, r.Since)
					}
					since = r.Since
				}
			}
			eventually(t, "only the first probe is under way", func() bool { s := n.Stats(); return s.Parked == 1 && s.InFlight == 1 })
		})
	}
}

func TestManyOfABatchHang(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxActive: 4, ParkAfter: 50 * time.Millisecond})
	lines := fullBatch()
	for i := range 20 {
		lines[3*i] = fmt.Sprintf("2:%d /hang-%d", i, i)
	}
	seen := n.look(4*short, lines...) // starts twenty workers
	for i, r := range seen {
		if i >= 60 || i%3 != 0 {
			good(t, r)
		} else if r.Err == nil && r.Since.IsZero() {
			t.Errorf("item %d answered: %+v", i, r)
		}
	}
	// On a busy machine some have begun too late to be called hung. None is begun twice.
	eventually(t, "all are known to hang", func() bool {
		return !slices.ContainsFunc(n.look(short, lines...), func(r Result) bool { return r.Err != nil })
	})
	if s := n.Stats(); s.Parked != 20 || s.InFlight != 20 {
		t.Errorf("%+v", s)
	}
}

// A device that answers early in a batch is not blamed for what hangs between its two mounts, and
// one that hangs is not probed again.
func TestSameDeviceTwiceInABatch(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	seen := n.look(short, "0:2 /a", "0:3 /hang", "0:2 /b", "0:3 /c", "- /d", "- /d")
	good(t, seen[0])
	hung(t, seen[1], check.StageStatfs)
	good(t, seen[2])
	hung(t, seen[3], check.StageStatfs)
	for _, r := range append(seen[4:], n.look(patience, "0:2 /d")...) {
		if r.Err != nil || r.Answer.Errno != 0 {
			t.Errorf("%+v", r)
		}
	}
	eventually(t, "only the first probe is under way", func() bool { return n.Stats().InFlight == 1 })
}

func TestMaxParkedWithinABatch(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxParked: 1})
	seen := n.look(short, "0:2 /a", "0:3 /hang-1", "0:4 /hang-2", "0:5 /b")
	good(t, seen[0])
	good(t, seen[3])
	if seen[1].Err != nil {
		seen[1], seen[2] = seen[2], seen[1] // either of them may be parked
	}
	hung(t, seen[1], check.StageStatfs)
	failed(t, seen[2], errFull.Error())
}

func TestWorkerThatFailsWithinABatch(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	for what, text := range map[string]string{"crash": "exit status 3", "garbage": "killed", "scribble": "malformed", "flood": ""} {
		seen := n.look(patience, "0:1 /a", "0:2 /"+what, "0:3 /b", "0:4 /c")
		failed(t, seen[1], text)
		if what == "crash" || what == "garbage" { // the page is intact
			good(t, seen[0])
			good(t, seen[2])
			good(t, seen[3])
		}
	}
	n.requireIdle()
}

// A path walk that takes long releases the device, and is answered all the same.
func TestSlowWalk(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{ParkAfter: 20 * time.Millisecond})
	done := make(chan Result)
	go func() { done <- n.Look(t.Context(), n.tasks("0:2 /amble"), patience)[0] }()
	eventually(t, "the walk is parked", func() bool { return n.Stats().Parked == 1 })
	good(t, n.look(patience, "0:2 /a")[0])
	good(t, <-done)
	n.requireIdle()
}

// A late answer shows that the mount has recovered.
func TestLateReturn(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{ParkAfter: time.Millisecond})
	const brief = 50 * time.Millisecond // the fake takes several times longer
	for _, r := range n.look(brief, "0:2 /slow-1", "0:3 /slow-2") {
		if r.Err == nil && r.Since.IsZero() {
			t.Errorf("answered: %+v", r)
		}
	}
	eventually(t, "the worker returned", func() bool { return n.Stats().Parked == 0 })
	n.requireIdle()
	for _, r := range n.look(patience, "0:2 /a", "0:3 /b") {
		good(t, r)
	}
}

// Whoever wins when a batch is cut while the worker goes on, each task is answered once.
func TestCutWhileTheWorkerGoesOn(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	n.dispatcher.cutAfter = time.Nanosecond
	lines := fullBatch()
	rounds := 200
	for range rounds {
		for _, r := range n.look(patience, lines...) {
			good(t, r)
		}
	}
	n.requireIdle()
	if len(n.dispatcher.holders) != 0 {
		t.Errorf("locks were not released: %v", n.dispatcher.holders)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxActive: 4})
	n.dispatcher.cutAfter = 100 * time.Microsecond
	var all sync.WaitGroup
	for seed := range uint64(16) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 20 {
				var lines []string
				for range 1 + random.IntN(10) {
					lines = append(lines, fmt.Sprintf("3:%d /good-%d", random.IntN(12), random.IntN(3)))
				}
				for _, r := range n.look(patience, lines...) {
					good(t, r)
				}
			}
		})
	}
	all.Wait()
	n.requireIdle()
	if len(n.dispatcher.holders) != 0 {
		t.Errorf("locks were not released: %v", n.dispatcher.holders)
	}
}

// Workers that have ended leave no descriptor and no mapping behind. Not parallel: it counts those
// of the process.
func TestWorkersLeaveNothingBehind(t *testing.T) {
	count := func() (fds, maps int) {
		open, err := filepath.Glob("/proc/self/fd/*")
		must(t, err)
		text, err := os.ReadFile("/proc/self/maps")
		must(t, err)
		return len(open), strings.Count(string(text), "memfd:"+workerName)
	}
	n := newFakeNode(t, Options{})
	n.stopWorkers()
	fds, maps := count()
	for range 3 {
		n.look(patience, "0:1 /crash", "0:2 /garbage", "0:3 /a", "0:4 /b")
		n.stopWorkers()
	}
	if f, m := count(); f > fds || m > maps || m != 0 {
		t.Errorf("from %d descriptors and %d mappings to %d and %d", fds, maps, f, m)
	}
}
