package backend

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestReturns(t *testing.T) {
	r, began := newReturns(), time.Now()
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
		if left := r.left(step.server, step.answers, began.Add(step.after)); left != step.left {
			t.Errorf("step %d: %s left, want %s", i, left, step.left)
		}
	}
	for i := range 2 * maxServers {
		r.left(fmt.Sprint(i), true, began)
	}
	if len(r.answer) > maxServers {
		t.Errorf("%d are remembered", len(r.answer))
	}
}

// A mount that does not answer has time to come back to a server that does. One that is stale never comes back.
func TestFreshWhenTheServerIsBack(t *testing.T) {
	c := newChecker(t, Options{}, &fakeHost{place: view.Place{}})
	fresh := func(cause probes.Cause, server string) probes.Freshness {
		v := nfs(server)
		v.Cause = cause
		return c.Fresh(context.Background(), v)
	}
	expect(t, fresh(probes.CauseStale, "ready"), probes.Ready, "fine")
	expect(t, fresh(probes.CauseNone, "ready"), probes.Ready, "fine")
	for _, cause := range []probes.Cause{probes.CauseHung, probes.CauseIOError} {
		expect(t, fresh(cause, "ready"), probes.NotReady, "may take 1m0s more to come back")
		expect(t, fresh(cause, "not-ready"), probes.NotReady, "not now")
		expect(t, fresh(cause, "unclear"), probes.Unclear, "who knows")
	}
	past := time.Now().Add(-2 * returnWithin)
	c.returns.answer["ready"] = answering{since: past, last: time.Now()}
	expect(t, fresh(probes.CauseHung, "ready"), probes.Ready, "fine")
}
