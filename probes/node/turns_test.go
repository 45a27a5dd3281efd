package node

import (
	"context"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// short is the timeout of looks that are never answered.
const short = time.Second

func TestHungIsKnownAtOnce(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /hang", "0:2 /other-folder-of-it", "0:3 /a")
	first := n.look(short, "/hang")[0]
	expect(t, first, probes.Broken, probes.CauseHung, "no answer")
	if first.Operation != probes.OpStatfs || first.Errno != 0 {
		t.Errorf("%+v", first)
	}
	seen := n.look(short, "/other-folder-of-it", "/hang", "/a")
	for _, o := range seen[:2] {
		expect(t, o, probes.Broken, probes.CauseHung, "no answer")
		if !o.Started.Equal(first.Started) {
			t.Errorf("hangs since %s, then since %s", first.Started, o.Started)
		}
	}
	expect(t, seen[2], probes.Healthy, "", "")
	if s := n.Stats(); s.Parked != 1 || s.InFlight != 1 {
		t.Errorf("the look was begun again: %+v", s)
	}
}

// A walk that hangs belongs to its container; the file system it leads to is not to blame.
func TestHungWalkKeepsNobodyElseFromTheDevice(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /walk", "0:2 /a")
	o := n.look(short, "/walk")[0]
	expect(t, o, probes.Broken, probes.CauseHung, "no answer")
	if o.Operation != probes.OpOpen {
		t.Errorf("hangs in %s", o.Operation)
	}
	seen := n.look(short, "/a", "/walk")
	expect(t, seen[0], probes.Healthy, "", "")
	expect(t, seen[1], probes.Broken, probes.CauseHung, "no answer")
	if s := n.Stats(); s.Parked != 1 {
		t.Errorf("the walk was begun again: %+v", s)
	}
	// The same without a line in the table: resolving hangs.
	expect(t, n.look(short, "/walk-unlisted")[0], probes.Broken, probes.CauseHung, "no answer")
}

func TestWorkerThatDoesNotBeginProvesNothing(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /idle")
	expect(t, n.look(short, "/idle")[0], probes.Unknown, "", errNotBegun.Error())
}

func TestOneLookAtADeviceAtATime(t *testing.T) {
	n := newFakeNode(t, Options{ParkAfter: time.Minute}, "0:2 /slow-1", "0:2 /slow-2", "0:2 /slow-3", "0:3 /slow-4")
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
	for _, o := range n.look(patience, "/slow-1", "/slow-2", "/slow-3", "/slow-4") {
		expect(t, o, probes.Healthy, "", "")
	}
	close(done)
	if got := <-most; got != 2 {
		t.Errorf("%d looks at 2 devices at once", got)
	}
}

func TestNoTurnInTimeIsUnknown(t *testing.T) {
	n := newFakeNode(t, Options{MaxActive: 1, ParkAfter: time.Minute}, "0:2 /hang", "0:3 /a")
	done := make(chan probes.Observation)
	go func() { done <- n.Probe(context.Background(), n.pod("/hang"), 2*time.Second)[0] }()
	eventually(t, "the only worker is busy", func() bool { return n.Stats().InFlight == 1 })
	expect(t, n.look(short, "/a")[0], probes.Unknown, "", "all 1 workers are busy")
	expect(t, <-done, probes.Broken, probes.CauseHung, "no answer")
}

func TestParkedGiveTheirTurnAway(t *testing.T) {
	n := newFakeNode(t, Options{MaxActive: 1, ParkAfter: time.Millisecond}, "0:2 /hang-1", "0:3 /hang-2", "0:4 /a")
	seen := n.look(patience/3, "/hang-1", "/hang-2", "/a")
	expect(t, seen[0], probes.Broken, probes.CauseHung, "")
	expect(t, seen[1], probes.Broken, probes.CauseHung, "")
	expect(t, seen[2], probes.Healthy, "", "")
}

func TestBeyondTheCapWorkersAreGivenUp(t *testing.T) {
	n := newFakeNode(t, Options{MaxActive: 2, MaxParked: 1}, "0:2 /hang-1", "0:3 /hang-2", "0:4 /a")
	expect(t, n.look(short, "/hang-1")[0], probes.Broken, probes.CauseHung, "")
	expect(t, n.look(short, "/hang-2")[0], probes.Unknown, "", errFull.Error())
	eventually(t, "worker ended", func() bool { return n.Stats().InFlight == 1 })
	expect(t, n.look(patience, "/a")[0], probes.Healthy, "", "")
}

func TestCancelledLookIsUnknown(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /hang")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan probes.Observation)
	go func() { done <- n.Probe(ctx, n.pod("/hang"), patience)[0] }()
	eventually(t, "under way", func() bool { return n.Stats().InFlight == 1 })
	cancel()
	expect(t, <-done, probes.Unknown, "", "called off")
}

func TestWorkersThatFail(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /crash", "0:3 /garbage", "0:4 /flood", "0:5 /a")
	for path, detail := range map[string]string{"/crash": "exit status 3", "/garbage": "killed", "/flood": "killed"} {
		expect(t, n.look(patience, path)[0], probes.Unknown, "", detail)
	}
	expect(t, n.look(patience, "/a")[0], probes.Healthy, "", "")
	if s := n.Stats(); s.InFlight != 0 || len(n.pool.slots) != 0 || s.Undropped != "bounding set" {
		t.Errorf("left behind: %+v, %d slots", s, len(n.pool.slots))
	}
}

func TestIdleWorkersAreLetGo(t *testing.T) {
	n := newFakeNode(t, Options{IdleAfter: time.Millisecond}, "0:2 /slow-1", "0:3 /slow-2", "0:4 /slow-3", "0:5 /slow-4")
	n.look(patience, "/slow-1", "/slow-2", "/slow-3", "/slow-4")
	if s := n.Stats(); s.Workers < 3 {
		t.Fatalf("4 looks at once took %d workers", s.Workers)
	}
	eventually(t, "two are left", func() bool {
		s := n.Stats()
		return s.Workers == keepIdle && s.Idle == keepIdle
	})
}

func TestParkedWorkerEndsWithItsContainer(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /hang")
	expect(t, n.look(short, "/hang")[0], probes.Broken, probes.CauseHung, "")
	n.write("stat", "42 (app) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 50 20 21 22\n")
	eventually(t, "worker ended", func() bool { return n.Stats().Workers == 0 })
}
