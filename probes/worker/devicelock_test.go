package worker

import (
	"context"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

func TestHungIsKnownAtOnce(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	n.startSpare()
	first := n.look(short, "0:2 /hang")[0]
	hung(t, first, check.StageStatfs)
	seen := n.look(short, "0:2 /other-directory-of-it", "0:2 /hang", "0:3 /a")
	for _, r := range seen[:2] {
		hung(t, r, check.StageStatfs)
		if !r.Since.Equal(first.Since) {
			t.Errorf("hangs since %s, then since %s", first.Since, r.Since)
		}
	}
	good(t, seen[2])
	if s := n.Stats(); s.Parked != 1 || s.InFlight != 1 {
		t.Errorf("the probe was begun again: %+v", s)
	}
}

// A path walk that hangs belongs to its container; the file system it leads to is not to blame.
func TestHungWalkKeepsNobodyElseFromTheDevice(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	n.startSpare()
	hung(t, n.look(short, "0:2 /walk")[0], check.StageOpen)
	seen := n.look(short, "0:2 /a", "0:2 /walk")
	good(t, seen[0])
	hung(t, seen[1], check.StageOpen)
	if s := n.Stats(); s.Parked != 1 {
		t.Errorf("the walk was begun again: %+v", s)
	}
	hung(t, n.look(short, "- /walk-only")[0], check.StageOpen)
}

func TestWorkerThatDoesNotStartProvesNothing(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	failed(t, n.look(short, "0:2 /idle")[0], errNotStarted.Error())
}

func TestOneProbeOfADeviceAtATime(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{ParkAfter: time.Minute})
	most := make(chan int)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		seen := 0
		for {
			select {
			case <-tick.C:
				seen = max(seen, n.Stats().InFlight)
			case <-done:
				most <- seen
				return
			}
		}
	}()
	for _, r := range n.look(patience, "0:2 /slow-1", "0:2 /slow-2", "0:2 /slow-3", "0:3 /slow-4") {
		good(t, r)
	}
	close(done)
	if got := <-most; got > 2 {
		t.Errorf("%d probes of 2 devices at once", got)
	}
}

func TestNoSlotInTimeIsUnknown(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxActive: 1, ParkAfter: time.Minute})
	done := make(chan Result)
	go func() { done <- n.Look(context.Background(), n.tasks("0:2 /hang"), 2*short)[0] }()
	eventually(t, "the only worker is busy", func() bool { return n.Stats().InFlight == 1 })
	failed(t, n.look(time.Second, "0:3 /a")[0], "all 1 workers are busy")
	hung(t, <-done, check.StageStatfs)
}

func TestParkedFreeTheirSlot(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxActive: 1, ParkAfter: time.Millisecond})
	seen := n.look(2*short, "0:2 /hang-1", "0:3 /hang-2", "0:4 /a")
	hung(t, seen[0], check.StageStatfs)
	hung(t, seen[1], check.StageStatfs)
	good(t, seen[2])
}

func TestWorkersBeyondMaxParkedAreAbandoned(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{MaxActive: 2, MaxParked: 1})
	hung(t, n.look(short, "0:2 /hang-1")[0], check.StageStatfs)
	failed(t, n.look(short, "0:3 /hang-2")[0], errFull.Error())
	eventually(t, "worker ended", func() bool { return n.Stats().InFlight == 1 })
	good(t, n.look(patience, "0:4 /a")[0])
}

func TestCancelledProbeIsUnknown(t *testing.T) {
	t.Parallel()
	n := newFakeNode(t, Options{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan Result)
	go func() { done <- n.Look(ctx, n.tasks("0:2 /hang"), patience)[0] }()
	eventually(t, "under way", func() bool { return n.Stats().InFlight == 1 })
	cancel()
	failed(t, <-done, "called off")
}
