package ledger

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
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
		healthy time.Duration // for how long before, as far as that was seen
		want    controllers.Held
	}{
		"nothing known":                  {row{}, minute, second, 0, ""},
		"the second waits":               {before(1, 2*minute), minute, 9 * second, 0, controllers.HeldBackoff},
		"and goes":                       {before(1, 2*minute), minute, 10 * second, 0, ""},
		"the third waits longer":         {before(2, 2*minute), minute, 19 * second, 0, controllers.HeldBackoff},
		"and goes later":                 {before(2, 2*minute), minute, 20 * second, 0, ""},
		"the fourth":                     {before(3, 2*minute), minute, 39 * second, 0, controllers.HeldBackoff},
		"the fifth, at last":             {before(4, 2*minute), minute + 20*second, 80 * second, 0, ""},
		"the sixth never":                {before(5, 20*minute), 9 * minute, 8 * minute, 0, controllers.HeldGaveUp},
		"the hundredth":                  {before(99, 20*minute), 9 * minute, 8 * minute, 0, controllers.HeldGaveUp},
		"the same pod again":             {row{attempts: 3, first: ago(minute), last: ago(second), pod: "x-uid"}, 2 * minute, second, 0, ""},
		"the same pod, the last attempt": {row{attempts: 5, first: ago(minute), last: ago(second), pod: "x-uid"}, 2 * minute, second, 0, ""},
		"healthy for long":               {before(5, 20*minute), 11 * minute, minute, 10 * minute, ""},
		"healthy for not long enough":    {before(5, 20*minute), 11*minute - second, minute, 10*minute - second, controllers.HeldGaveUp},
		"a sibling from before the row":  {before(3, 2*minute), 3 * minute, second, 0, ""},
		"a sibling from just before":     {before(3, 2*minute), 2*minute + clockSlack, second, 0, ""},
		"made within the very second":    {before(3, 2*minute), 2*minute + clockSlack - second, second, 0, controllers.HeldBackoff},
		"old, and nobody saw it healthy": {before(5, 20*minute), 15 * minute, second, 0, controllers.HeldGaveUp},
		"old, and healthy for a moment":  {before(5, 20*minute), 15 * minute, second, minute, controllers.HeldGaveUp},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(func(a *Ask) { a.Created, a.Since, a.Healthy = ago(tc.created), ago(tc.broken), tc.healthy })
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
	for _, part := range []string{"delete the Lease " + leaseName(a.Entry), "after 1m30s of health"} {
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
	lasting := ask(func(a *Ask) { a.Created, a.Since, a.Healthy = ago(50*time.Minute), ago(time.Second), 49*time.Minute })
	older := ask(func(a *Ask) { a.Created, a.Since = ago(2*time.Hour), ago(time.Second) })
	for name, tc := range map[string]struct {
		row      row
		ask      Ask
		attempts int
		anew     bool
	}{
		"the first":                                     {row{}, ask(), 1, true},
		"a successor":                                   {row{attempts: 1, first: ago(2 * time.Minute), last: ago(2 * time.Minute)}, successor, 2, false},
		"the same pod again":                            {row{attempts: 2, first: ago(2 * time.Minute), last: ago(time.Second), pod: "x-uid"}, successor, 2, false},
		"a sibling from before the row":                 {row{attempts: 2, first: ago(2 * time.Minute), last: ago(time.Minute)}, ask(), 2, false},
		"a successor that was healthy":                  {row{attempts: 4, first: ago(3 * time.Hour), last: ago(2 * time.Hour)}, ask(), 1, true},
		"a sibling, the row is old":                     {row{attempts: 4, first: ago(11 * time.Minute), last: ago(11 * time.Minute)}, ask(), 1, true},
		"a successor that was healthy, with others not": {row{attempts: 4, first: ago(time.Hour), last: ago(time.Minute)}, lasting, 1, true},
		"a sibling from before it, with others not":     {row{attempts: 4, first: ago(time.Hour), last: ago(time.Minute)}, older, 4, false},
		"a slow successor of an old row":                {row{attempts: 1, first: ago(2 * time.Hour), last: ago(2 * time.Hour)}, successor, 2, false},
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

// fleet is an owner's pods on many nodes.
type fleet struct {
	t       *testing.T
	random  *rand.Rand
	backoff config.Backoff
	row     row
	created []time.Time
	on      []int       // the node of each pod
	broken  []time.Time // since when each pod has been broken; zero when it is not
	removed int
	soon    int // of the removed ones broke within forgetSeconds
}

const fleetNodes = 200

func newFleet(t *testing.T, seed uint64, replicas int) *fleet {
	f := &fleet{t: t, random: rand.New(rand.NewPCG(seed, 0)), backoff: settings().Backoff}
	for range replicas {
		f.created, f.on, f.broken = append(f.created, now.Add(-24*time.Hour)), append(f.on, f.random.IntN(fleetNodes)), append(f.broken, time.Time{})
	}
	return f
}

// restart breaks the pods of a node, and asks once for the removal of each broken pod after its backoff. It returns how many are given up.
func (f *fleet) restart(node int, at time.Time) (givenUp int) {
	for i := range f.on {
		if f.on[i] == node {
			f.broken[i] = at
		}
		if f.broken[i].IsZero() {
			continue
		}
		a := ask(func(a *Ask) {
			a.Created, a.Since, a.PodUID = f.created[i], f.broken[i], types.UID(fmt.Sprint(i, f.created[i]))
		})
		acts := at
		if f.row.goesOn(a, f.backoff) && f.row.before(a) > 0 {
			acts = later(at, a.Since.Add(delay(f.row.before(a), f.backoff)))
		}
		if refusal := f.row.refuse(a, f.backoff, acts); refusal != nil {
			requireHeld(f.t, refusal, controllers.HeldGaveUp)
			givenUp++
			continue
		}
		if !healthyLong(a, f.backoff) {
			f.soon++
		}
		f.row = f.row.next(a, f.backoff, acts)
		f.created[i], f.on[i], f.broken[i] = acts.Add(2*time.Second), f.random.IntN(fleetNodes), time.Time{}
		f.removed++
	}
	return givenUp
}

// A driver that is restarted on one node after the other breaks successors again, some of them soon, though each removal has helped. Whoever
// is given up by that is set free when one fails that was healthy for long.
func TestARollingRestartGivesNobodyUpForLong(t *testing.T) {
	removed, soon, given := 0, 0, 0
	for seed := range uint64(50) {
		f := newFleet(t, seed, 50)
		left := 0
		for node := range fleetNodes {
			left = f.restart(node, now.Add(time.Duration(node)*30*time.Second))
			given += left
		}
		if left > 0 {
			t.Errorf("seed %d: %d pods are given up in the end", seed, left)
		}
		removed, soon = removed+f.removed, soon+f.soon
	}
	t.Logf("%d pods were removed, %d soon after their predecessors; %d times one was given up", removed, soon, given)
	if soon < removed/20 {
		t.Error("too few break soon: this proves nothing")
	}
	if given > removed/100 {
		t.Error("too many are given up")
	}
}

// A pod that never lasts is given up, whatever becomes of its siblings from before.
func TestSiblingsDoNotSaveAPodThatNeverLasts(t *testing.T) {
	b := settings().Backoff
	var r row
	clock, created := now, now.Add(-time.Hour)
	for try := 1; ; try++ {
		sibling := ask(func(a *Ask) {
			a.Created, a.Since, a.PodUID = now.Add(-24*time.Hour), clock, types.UID(fmt.Sprint("old-", try))
		})
		requireHeld(t, r.refuse(sibling, b, clock), "")
		if try > 1 {
			r = r.next(sibling, b, clock)
		}
		a := ask(func(a *Ask) { a.Created, a.Since, a.PodUID = created, clock, types.UID(fmt.Sprint(try)) })
		clock = clock.Add(delay(max(try-1, 1), b))
		if try > b.MaxAttempts {
			requireHeld(t, r.refuse(a, b, clock), controllers.HeldGaveUp)
			return
		}
		requireHeld(t, r.refuse(a, b, clock), "")
		r = r.next(a, b, clock)
		created = clock.Add(2 * time.Second)
		clock = created.Add(time.Minute)
	}
}
