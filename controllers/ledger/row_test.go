package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
)

func TestBackoff(t *testing.T) {
	const second, minute = time.Second, time.Minute
	// before is a row whose latest removal was of the pod "before".
	before := func(attempts int, first time.Duration) row {
		return row{attempts: attempts, first: ago(first), last: ago(first), pod: "before"}
	}
	for name, tc := range map[string]struct {
		row     row
		created time.Duration // how long ago
		broken  time.Duration // for how long
		want    controllers.Held
	}{
		"nothing known":                  {row{}, minute, second, ""},
		"the second waits":               {before(1, 2*minute), minute, 9 * second, controllers.HeldBackoff},
		"and goes":                       {before(1, 2*minute), minute, 10 * second, ""},
		"the third waits longer":         {before(2, 2*minute), minute, 19 * second, controllers.HeldBackoff},
		"and goes later":                 {before(2, 2*minute), minute, 20 * second, ""},
		"the fourth":                     {before(3, 2*minute), minute, 39 * second, controllers.HeldBackoff},
		"the fifth, at last":             {before(4, 2*minute), minute + 20*second, 80 * second, ""},
		"the sixth never":                {before(5, 20*minute), 9 * minute, 8 * minute, controllers.HeldGaveUp},
		"the hundredth":                  {before(99, 20*minute), 9 * minute, 8 * minute, controllers.HeldGaveUp},
		"the same pod again":             {row{attempts: 3, first: ago(minute), last: ago(second), pod: "x-uid"}, 2 * minute, second, ""},
		"the same pod, the last attempt": {row{attempts: 5, first: ago(minute), last: ago(second), pod: "x-uid"}, 2 * minute, second, ""},
		"healthy for long":               {before(5, 20*minute), 11 * minute, minute, ""},
		"healthy for not long enough":    {before(5, 20*minute), 11*minute - second, minute, controllers.HeldGaveUp},
		"a sibling from before the row":  {before(3, 2*minute), 3 * minute, second, ""},
		"a sibling from just before":     {before(3, 2*minute), 2*minute + clockSlack, second, ""},
		"made within the very second":    {before(3, 2*minute), 2*minute + clockSlack - second, second, controllers.HeldBackoff},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(func(a *Ask) { a.Created, a.Since = ago(tc.created), ago(tc.broken) })
			requireHeld(t, tc.row.refuse(a, settings().Backoff, now), tc.want)
		})
	}
}

// Whoever is told that it gave up is told what to do, and how long is long enough, be it less than a minute.
func TestGaveUpSaysWhatToDo(t *testing.T) {
	b := settings().Backoff
	b.ForgetSeconds = 90
	a := ask(func(a *Ask) { a.Created, a.Since = ago(time.Minute), ago(time.Second) })
	refusal := row{attempts: b.MaxAttempts, first: ago(2 * time.Minute), pod: "before"}.refuse(a, b, now)
	requireHeld(t, refusal, controllers.HeldGaveUp)
	for _, part := range []string{"delete the Lease " + leaseName(a.Namespace, a.Owner), "healthy for 1m30s"} {
		if !strings.Contains(refusal.Message, part) {
			t.Errorf("%q does not say %q", refusal.Message, part)
		}
	}
}

func TestBackoffIsCapped(t *testing.T) {
	b := settings().Backoff
	b.MaxAttempts = 1000
	for attempts, want := range map[int]time.Duration{1: 10 * time.Second, 5: 160 * time.Second, 6: 5 * time.Minute, 500: 5 * time.Minute} {
		if got := delay(attempts, b); got != want {
			t.Errorf("after %d: %s, want %s", attempts, got, want)
		}
	}
}

func TestRowGrows(t *testing.T) {
	successor := ask(func(a *Ask) { a.Created, a.Since = ago(time.Minute), ago(time.Second) })
	for name, tc := range map[string]struct {
		row      row
		ask      Ask
		attempts int
		anew     bool
	}{
		"the first":                      {row{}, ask(), 1, true},
		"a successor":                    {row{attempts: 1, first: ago(2 * time.Minute), last: ago(2 * time.Minute)}, successor, 2, false},
		"the same pod again":             {row{attempts: 2, first: ago(2 * time.Minute), last: ago(time.Second), pod: "x-uid"}, successor, 2, false},
		"a sibling from before the row":  {row{attempts: 2, first: ago(2 * time.Minute), last: ago(time.Minute)}, ask(), 2, false},
		"a successor that was healthy":   {row{attempts: 4, first: ago(3 * time.Hour), last: ago(2 * time.Hour)}, ask(), 1, true},
		"a sibling, the row is old":      {row{attempts: 4, first: ago(11 * time.Minute), last: ago(11 * time.Minute)}, ask(), 1, true},
		"a slow successor of an old row": {row{attempts: 1, first: ago(2 * time.Hour), last: ago(2 * time.Hour)}, successor, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.row.next(tc.ask, settings().Backoff, now)
			if got.attempts != tc.attempts || got.pod != "x-uid" || !got.last.Equal(now) || got.first.Equal(now) != tc.anew {
				t.Errorf("%+v, want %d attempts, begun anew %t", got, tc.attempts, tc.anew)
			}
		})
	}
}

// The replicas of an owner that break together, again and again, are one try each time: whichever goes first, all wait as long, and the row
// is as long as the owner has had successors that failed.
func TestReplicasAreOneTry(t *testing.T) {
	b := settings().Backoff
	var r row
	clock := now
	created := clock.Add(-time.Hour)
	for round := 1; round <= b.MaxAttempts+1; round++ {
		for i := range 100 {
			a := ask(func(a *Ask) { a.Created, a.Since, a.PodUID = created, clock, types.UID(fmt.Sprint(round, "-", i)) })
			at := clock
			switch {
			case round > b.MaxAttempts:
				requireHeld(t, r.refuse(a, b, at), controllers.HeldGaveUp)
				continue
			case round > 1:
				at = clock.Add(delay(round-1, b))
				requireHeld(t, r.refuse(a, b, at.Add(-time.Second)), controllers.HeldBackoff)
			}
			requireHeld(t, r.refuse(a, b, at), "")
			if r = r.next(a, b, at); r.attempts != round {
				t.Fatalf("%d tries after pod %d of round %d", r.attempts, i, round)
			}
		}
		clock = clock.Add(delay(round, b) + 10*time.Second)
		created = clock.Add(-5 * time.Second) // of all successors
	}
}

// Two successors that a budget blocks ask in turn, each many times: neither is counted twice.
func TestAskingAgainIsNoTry(t *testing.T) {
	b := settings().Backoff
	r := row{attempts: 4, first: ago(time.Hour), counted: ago(10 * time.Minute), pod: "before"}
	for i := range 100 {
		a := ask(func(a *Ask) {
			a.Created, a.Since, a.PodUID = ago(5*time.Minute), ago(4*time.Minute), types.UID(fmt.Sprint(i%2))
		})
		at := now.Add(time.Duration(i) * time.Second)
		requireHeld(t, r.refuse(a, b, at), "")
		if r = r.next(a, b, at); r.attempts != 5 {
			t.Fatalf("%d tries after %d times", r.attempts, i+1)
		}
	}
}
