package backend

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestRemainingGrace(t *testing.T) {
	r, began := newNFSGrace(), time.Now()
	for i, step := range []struct {
		after   time.Duration // from the beginning
		server  string
		answers bool
		left    time.Duration
	}{
		{0, "a", true, time.Minute},
		{10 * time.Second, "a", true, 50 * time.Second},
		{10 * time.Second, "b", true, time.Minute},
		{25 * time.Second, "a", true, 35 * time.Second},
		{40 * time.Second, "b", false, time.Minute},
		{50 * time.Second, "a", true, 10 * time.Second},
		{50 * time.Second, "b", true, time.Minute},
		{61 * time.Second, "a", true, 0},
		{75 * time.Second, "a", true, 0},
		{106 * time.Second, "a", true, time.Minute}, // nobody has asked for 31 s
		{120 * time.Second, "a", false, time.Minute},
		{121 * time.Second, "a", true, time.Minute},
	} {
		if left := r.remainingGrace(step.server, step.answers, began.Add(step.after)); left != step.left {
			t.Errorf("step %d: %s left, want %s", i, left, step.left)
		}
	}
	for i := range 2 * maxUptimes {
		r.remainingGrace(fmt.Sprint(i), true, began)
	}
	if len(r.uptimes) > maxUptimes {
		t.Errorf("%d are remembered", len(r.uptimes))
	}
}

// A mount that does not answer is given time to reconnect to a server that does. A stale mount
// never recovers.
func TestReadinessWhenTheServerIsBack(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{origin: view.VolumeOrigin{}})
	fresh := func(cause probes.Cause, server string) probes.MountReadiness {
		v := nfsVolume(server)
		v.Cause = cause
		return c.CheckReadiness(context.Background(), v)
	}
	expectReadiness(t, fresh(probes.CauseStale, "ready"), probes.Ready, "fine")
	expectReadiness(t, fresh(probes.CauseNone, "ready"), probes.Ready, "fine")
	for _, cause := range []probes.Cause{probes.CauseHung, probes.CauseIOError} {
		expectReadiness(t, fresh(cause, "ready"), probes.NotReady, "may take 1m0s more to come back")
		expectReadiness(t, fresh(cause, "not-ready"), probes.NotReady, "not now")
		expectReadiness(t, fresh(cause, "unclear"), probes.Unclear, "who knows")
	}
	past := time.Now().Add(-2 * reconnectWithin)
	c.grace.uptimes["ready"] = serverUptime{since: past, last: time.Now()}
	expectReadiness(t, fresh(probes.CauseHung, "ready"), probes.Ready, "fine")
}
