package remediate

import (
	"testing"
	"time"
)

func TestRetriesSlowDownInAnOutage(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var o outage
	clock := began
	for n, last := 0, time.Duration(0); clock.Sub(began) < 5*time.Minute; n++ {
		wait := o.extendOutage(clock)
		if wait < minRetryDelay || wait > maxRetryDelay*3/2 {
			t.Fatalf("waits %s after %s", wait, clock.Sub(began))
		}
		if wait < last/2 {
			t.Errorf("waits %s after %s, and %s before", wait, clock.Sub(began), last)
		}
		if n > 40 {
			t.Fatal("more than 40 calls in five minutes")
		}
		last = wait
		clock = clock.Add(wait)
	}
	o.endOutage()
	if wait := o.extendOutage(clock); wait > 2*minRetryDelay {
		t.Errorf("waits %s at the beginning of the next outage", wait)
	}
	clock = clock.Add(time.Hour)
	if wait := o.extendOutage(clock); wait > 2*minRetryDelay {
		t.Errorf("waits %s when nothing has failed for an hour", wait)
	}
}
