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
	// before is a streak whose latest eviction was of the pod "before".
	before := func(attempts int, first time.Duration) streak {
		return streak{attempts: attempts, startedAt: ago(first), lastRemovedAt: ago(first), lastPod: "before"}
	}
	for name, tc := range map[string]struct {
		row     streak
		created time.Duration // how long ago
		broken  time.Duration // for how long
		healthy time.Duration // for how long before, as far as that was seen
		want    controllers.Held
	}{
		"nothing known":                  {streak{}, minute, second, 0, ""},
		"the second waits":               {before(1, 2*minute), minute, 9 * second, 0, controllers.HeldBackoff},
		"and goes":                       {before(1, 2*minute), minute, 10 * second, 0, ""},
		"the third waits longer":         {before(2, 2*minute), minute, 19 * second, 0, controllers.HeldBackoff},
		"and goes later":                 {before(2, 2*minute), minute, 20 * second, 0, ""},
		"the fourth":                     {before(3, 2*minute), minute, 39 * second, 0, controllers.HeldBackoff},
		"the fifth, at last":             {before(4, 2*minute), minute + 20*second, 80 * second, 0, ""},
		"the sixth never":                {before(5, 20*minute), 9 * minute, 8 * minute, 0, controllers.HeldGaveUp},
		"the hundredth":                  {before(99, 20*minute), 9 * minute, 8 * minute, 0, controllers.HeldGaveUp},
		"the same pod again":             {streak{attempts: 3, startedAt: ago(minute), lastRemovedAt: ago(second), lastPod: "x-uid"}, 2 * minute, second, 0, ""},
		"the same pod, the last attempt": {streak{attempts: 5, startedAt: ago(minute), lastRemovedAt: ago(second), lastPod: "x-uid"}, 2 * minute, second, 0, ""},
		"healthy for long":               {before(5, 20*minute), 11 * minute, minute, 10 * minute, ""},
		"healthy for not long enough":    {before(5, 20*minute), 11*minute - second, minute, 10*minute - second, controllers.HeldGaveUp},
		"a sibling from before the row":  {before(3, 2*minute), 3 * minute, second, 0, ""},
		"a sibling from just before":     {before(3, 2*minute), 2*minute + maxClockSkew, second, 0, ""},
		"made within the very second":    {before(3, 2*minute), 2*minute + maxClockSkew - second, second, 0, controllers.HeldBackoff},
		"old, and nobody saw it healthy": {before(5, 20*minute), 15 * minute, second, 0, controllers.HeldGaveUp},
		"old, and healthy for a moment":  {before(5, 20*minute), 15 * minute, second, minute, controllers.HeldGaveUp},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAsk(func(a *Ask) { a.Created, a.Since, a.Healthy = ago(tc.created), ago(tc.broken), tc.healthy })
			requireHeld(t, tc.row.checkReplacement(a, testConfig().Backoff, now), tc.want)
		})
	}
}

// The message that it gave up says what to do, and how long a pod must be healthy, even if that is
// less than a minute.
func TestGaveUpSaysWhatToDo(t *testing.T) {
	b := testConfig().Backoff
	b.ForgetSeconds = 90
	a := newAsk(func(a *Ask) { a.Created, a.Since = ago(time.Minute), ago(time.Second) })
	refusal := streak{attempts: b.MaxAttempts, startedAt: ago(2 * time.Minute), lastPod: "before"}.checkReplacement(a, b, now)
	requireHeld(t, refusal, controllers.HeldGaveUp)
	for _, part := range []string{"delete the Lease " + ownerLeaseName(a.Entry), "after 1m30s of health"} {
		if !strings.Contains(refusal.Message, part) {
			t.Errorf("%q does not say %q", refusal.Message, part)
		}
	}
}

func TestBackoffIsCapped(t *testing.T) {
	b := testConfig().Backoff
	b.MaxAttempts = 1000
	for attempts, want := range map[int]time.Duration{1: 10 * time.Second, 5: 160 * time.Second, 6: 5 * time.Minute, 500: 5 * time.Minute} {
		if got := backoffDelay(attempts, b); got != want {
			t.Errorf("after %d: %s, want %s", attempts, got, want)
		}
	}
}

func TestStreakGrows(t *testing.T) {
	successor := newAsk(func(a *Ask) { a.Created, a.Since = ago(time.Minute), ago(time.Second) })
	lasting := newAsk(func(a *Ask) { a.Created, a.Since, a.Healthy = ago(50*time.Minute), ago(time.Second), 49*time.Minute })
	older := newAsk(func(a *Ask) { a.Created, a.Since = ago(2*time.Hour), ago(time.Second) })
	for name, tc := range map[string]struct {
		row      streak
		ask      Ask
		attempts int
		anew     bool
	}{
		"the first":                                     {streak{}, newAsk(), 1, true},
		"a successor":                                   {streak{attempts: 1, startedAt: ago(2 * time.Minute), lastRemovedAt: ago(2 * time.Minute)}, successor, 2, false},
		"the same pod again":                            {streak{attempts: 2, startedAt: ago(2 * time.Minute), lastRemovedAt: ago(time.Second), lastPod: "x-uid"}, successor, 2, false},
		"a sibling from before the row":                 {streak{attempts: 2, startedAt: ago(2 * time.Minute), lastRemovedAt: ago(time.Minute)}, newAsk(), 2, false},
		"a successor that was healthy":                  {streak{attempts: 4, startedAt: ago(3 * time.Hour), lastRemovedAt: ago(2 * time.Hour)}, newAsk(), 1, true},
		"a sibling, the row is old":                     {streak{attempts: 4, startedAt: ago(11 * time.Minute), lastRemovedAt: ago(11 * time.Minute)}, newAsk(), 1, true},
		"a successor that was healthy, with others not": {streak{attempts: 4, startedAt: ago(time.Hour), lastRemovedAt: ago(time.Minute)}, lasting, 1, true},
		"a sibling from before it, with others not":     {streak{attempts: 4, startedAt: ago(time.Hour), lastRemovedAt: ago(time.Minute)}, older, 4, false},
		"a slow successor of an old row":                {streak{attempts: 1, startedAt: ago(2 * time.Hour), lastRemovedAt: ago(2 * time.Hour)}, successor, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.row.withRemoval(tc.ask, testConfig().Backoff, now)
			if got.attempts != tc.attempts || got.lastPod != "x-uid" || !got.lastRemovedAt.Equal(now) || got.startedAt.Equal(now) != tc.anew {
				t.Errorf("%+v, want %d attempts, begun anew %t", got, tc.attempts, tc.anew)
			}
		})
	}
}

// The replicas of an owner that break together, again and again, count once each time: whichever is
// evicted first, all wait as long, and the streak is as long as the owner had failed replacements.
func TestReplicasCountOnce(t *testing.T) {
	b := testConfig().Backoff
	var r streak
	clock := now
	created := clock.Add(-time.Hour)
	for round := 1; round <= b.MaxAttempts+1; round++ {
		for i := range 100 {
			a := newAsk(func(a *Ask) { a.Created, a.Since, a.PodUID = created, clock, types.UID(fmt.Sprint(round, "-", i)) })
			at := clock
			switch {
			case round > b.MaxAttempts:
				requireHeld(t, r.checkReplacement(a, b, at), controllers.HeldGaveUp)
				continue
			case round > 1:
				at = clock.Add(backoffDelay(round-1, b))
				requireHeld(t, r.checkReplacement(a, b, at.Add(-time.Second)), controllers.HeldBackoff)
			}
			requireHeld(t, r.checkReplacement(a, b, at), "")
			if r = r.withRemoval(a, b, at); r.attempts != round {
				t.Fatalf("%d tries after pod %d of round %d", r.attempts, i, round)
			}
		}
		clock = clock.Add(backoffDelay(round, b) + 10*time.Second)
		created = clock.Add(-5 * time.Second) // of all replacements
	}
}

// Two replacements that a budget blocks ask in turn, each many times: neither is counted twice.
func TestRepeatedAskCountsOnce(t *testing.T) {
	b := testConfig().Backoff
	r := streak{attempts: 4, startedAt: ago(time.Hour), countedAt: ago(10 * time.Minute), lastPod: "before"}
	for i := range 100 {
		a := newAsk(func(a *Ask) {
			a.Created, a.Since, a.PodUID = ago(5*time.Minute), ago(4*time.Minute), types.UID(fmt.Sprint(i%2))
		})
		at := now.Add(time.Duration(i) * time.Second)
		requireHeld(t, r.checkReplacement(a, b, at), "")
		if r = r.withRemoval(a, b, at); r.attempts != 5 {
			t.Fatalf("%d tries after %d times", r.attempts, i+1)
		}
	}
}

// replicaSet is an owner's pods on many nodes.
type replicaSet struct {
	t       *testing.T
	random  *rand.Rand
	backoff config.Backoff
	streak  streak
	created []time.Time
	on      []int       // the node of each pod
	broken  []time.Time // since when each pod has been broken; zero when it is not
	removed int
	soon    int // of the evicted ones that broke within forgetSeconds
}

const fleetNodes = 200

func newReplicaSet(t *testing.T, seed uint64, replicas int) *replicaSet {
	f := &replicaSet{t: t, random: rand.New(rand.NewPCG(seed, 0)), backoff: testConfig().Backoff}
	for range replicas {
		f.created, f.on, f.broken = append(f.created, now.Add(-24*time.Hour)), append(f.on, f.random.IntN(fleetNodes)), append(f.broken, time.Time{})
	}
	return f
}

// rollingRestart breaks the pods of a node, and asks once for the eviction of each broken pod after
// its backoff. It returns how many are given up.
func (f *replicaSet) rollingRestart(node int, at time.Time) (givenUp int) {
	for i := range f.on {
		if f.on[i] == node {
			f.broken[i] = at
		}
		if f.broken[i].IsZero() {
			continue
		}
		a := newAsk(func(a *Ask) {
			a.Created, a.Since, a.PodUID = f.created[i], f.broken[i], types.UID(fmt.Sprint(i, f.created[i]))
		})
		acts := at
		if f.streak.isContinuedBy(a, f.backoff) && f.streak.countBefore(a) > 0 {
			acts = laterOf(at, a.Since.Add(backoffDelay(f.streak.countBefore(a), f.backoff)))
		}
		if refusal := f.streak.checkReplacement(a, f.backoff, acts); refusal != nil {
			requireHeld(f.t, refusal, controllers.HeldGaveUp)
			givenUp++
			continue
		}
		if !wasHealthyLong(a, f.backoff) {
			f.soon++
		}
		f.streak = f.streak.withRemoval(a, f.backoff, acts)
		f.created[i], f.on[i], f.broken[i] = acts.Add(2*time.Second), f.random.IntN(fleetNodes), time.Time{}
		f.removed++
	}
	return givenUp
}

// A driver that is restarted on one node after the other breaks replacements again, some of them
// soon, though each eviction has helped. An owner that is given up is reset when a pod fails that
// was healthy for long.
func TestRollingRestartIsNotGivenUpForLong(t *testing.T) {
	removed, soon, given := 0, 0, 0
	for seed := range uint64(50) {
		f := newReplicaSet(t, seed, 50)
		left := 0
		for node := range fleetNodes {
			left = f.rollingRestart(node, now.Add(time.Duration(node)*30*time.Second))
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
func TestSiblingsDoNotEndStreak(t *testing.T) {
	b := testConfig().Backoff
	var r streak
	clock, created := now, now.Add(-time.Hour)
	for try := 1; ; try++ {
		sibling := newAsk(func(a *Ask) {
			a.Created, a.Since, a.PodUID = now.Add(-24*time.Hour), clock, types.UID(fmt.Sprint("old-", try))
		})
		requireHeld(t, r.checkReplacement(sibling, b, clock), "")
		if try > 1 {
			r = r.withRemoval(sibling, b, clock)
		}
		a := newAsk(func(a *Ask) { a.Created, a.Since, a.PodUID = created, clock, types.UID(fmt.Sprint(try)) })
		clock = clock.Add(backoffDelay(max(try-1, 1), b))
		if try > b.MaxAttempts {
			requireHeld(t, r.checkReplacement(a, b, clock), controllers.HeldGaveUp)
			return
		}
		requireHeld(t, r.checkReplacement(a, b, clock), "")
		r = r.withRemoval(a, b, clock)
		created = clock.Add(2 * time.Second)
		clock = created.Add(time.Minute)
	}
}
