package verdict_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

func newTarget(container, volume, path string) probes.Target {
	return probes.Target{Container: container, Volume: volume, Path: path}
}

// scriptedRound is one probe of several mounts that ended at one time.
type scriptedRound struct {
	at   float64
	seen map[probes.Target]probes.Cause
}

func judgeRounds(r verdict.Rules, rounds []scriptedRound) (verdict.State, verdict.Verdict) {
	var (
		state verdict.State
		v     verdict.Verdict
	)
	for _, round := range rounds {
		var observations []probes.Observation
		for target, cause := range round.seen {
			observations = append(observations, scriptedProbe{at: round.at, cause: cause}.toObservation(target))
		}
		state, v = verdict.Step(state, observations, r, at(round.at))
	}
	return state, v
}

func listTargets(d verdict.Decision) []probes.Target {
	var all []probes.Target
	for _, f := range d.Failures {
		all = append(all, f.Observation.Target)
	}
	return all
}

// All failed mounts are in the decision: the permanent first, then the oldest, then by name.
func TestEveryFailedMountIsInTheDecision(t *testing.T) {
	a, b, c, d := newTarget("app", "a", "/a"), newTarget("app", "b", "/b"), newTarget("app", "c", "/c"), newTarget("app", "d", "/d")
	seen := func(ca, cb, cc, cd probes.Cause) map[probes.Target]probes.Cause {
		return map[probes.Target]probes.Cause{a: ca, b: cb, c: cc, d: cd}
	}
	state, v := judgeRounds(rules, []scriptedRound{
		{0, seen(healthy, ioError, healthy, healthy)},
		{10, seen(ioError, ioError, stale, healthy)},
		{20, seen(ioError, ioError, stale, healthy)},
		{30, seen(ioError, ioError, stale, disconnected)},
	})
	if diff := cmp.Diff([]probes.Target{c, b, a}, listTargets(v.Decision)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if !v.Decision.Definitive() {
		t.Error("rests on no definitive cause although one mount is stale")
	}
	if got := state[d].Phase; got != verdict.Suspect {
		t.Errorf("the mount that broke last is %s, want Suspect", got)
	}
}

// Failures lists what has failed even if nothing is due, because it has not settled or cannot be
// judged now. It does not list what is Suspect.
func TestFailuresThatAreNotDue(t *testing.T) {
	settles := rules
	settles.Settle = time.Hour
	a, b, c := newTarget("app", "a", "/a"), newTarget("app", "b", "/b"), newTarget("app", "c", "/c")
	state, v := judgeRounds(settles, []scriptedRound{
		{0, map[probes.Target]probes.Cause{a: ioError, b: stale, c: healthy}},
		{10, map[probes.Target]probes.Cause{a: ioError, b: stale, c: healthy}},
		{20, map[probes.Target]probes.Cause{a: ioError, b: unknown, c: hung}},
	})
	var told []probes.Target
	for _, f := range state.Failures() {
		told = append(told, f.Observation.Target)
	}
	if diff := cmp.Diff([]probes.Target{b, a}, told); diff != "" || v.Decision.Remediate {
		t.Errorf("to be removed: %v; told (-want +got):\n%s", v.Decision.Remediate, diff)
	}
	if got := (verdict.State{}).Failures(); got != nil {
		t.Errorf("nothing has failed, yet %v", got)
	}
}

func TestFailuresOfOneMomentAreInTheOrderOfNames(t *testing.T) {
	want := []probes.Target{newTarget("a", "x", "/1"), newTarget("a", "x", "/2"), newTarget("a", "y", "/1"), newTarget("b", "x", "/1")}
	seen := map[probes.Target]probes.Cause{}
	for _, target := range want {
		seen[target] = disconnected
	}
	for range 20 { // a map has no order, nor have the observations
		_, v := judgeRounds(rules, []scriptedRound{{0, seen}, {1, seen}})
		if diff := cmp.Diff(want, listTargets(v.Decision)); diff != "" {
			t.Fatalf("failures (-want +got):\n%s", diff)
		}
	}
}

func TestSecondFailureIsNotLostWhileTheFirstSettles(t *testing.T) {
	settle := rules
	settle.Settle = 20 * 1e9
	a, b := newTarget("app", "a", "/a"), newTarget("app", "b", "/b")
	both := func(ca, cb probes.Cause) map[probes.Target]probes.Cause {
		return map[probes.Target]probes.Cause{a: ca, b: cb}
	}
	rounds := []scriptedRound{{0, both(stale, healthy)}, {1, both(stale, healthy)}, {10, both(stale, stale)}, {11, both(stale, stale)}}
	_, v := judgeRounds(settle, rounds)
	if v.Decision.Remediate {
		t.Fatalf("decided before anything settled: %+v", v.Decision)
	}
	_, v = judgeRounds(settle, append(rounds, scriptedRound{21, both(healthy, stale)}))
	if v.Decision.Remediate {
		t.Errorf("the first recovered, the second is not due: %+v", v.Decision)
	}
	_, v = judgeRounds(settle, append(rounds, scriptedRound{21, both(healthy, stale)}, scriptedRound{31, both(healthy, stale)}))
	if diff := cmp.Diff([]probes.Target{b}, listTargets(v.Decision)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestUnknownMountDelaysNoDecision(t *testing.T) {
	a, b := newTarget("app", "a", "/a"), newTarget("app", "b", "/b")
	seen := map[probes.Target]probes.Cause{a: disconnected, b: unknown}
	_, v := judgeRounds(rules, []scriptedRound{{0, seen}, {1, seen}})
	if diff := cmp.Diff([]probes.Target{a}, listTargets(v.Decision)); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

func TestUnwatchedMountIsForgotten(t *testing.T) {
	a, b := newTarget("app", "a", "/a"), newTarget("app", "b", "/b")
	state, v := judgeRounds(rules, []scriptedRound{
		{0, map[probes.Target]probes.Cause{a: disconnected, b: healthy}},
		{1, map[probes.Target]probes.Cause{a: disconnected, b: healthy}},
		{2, map[probes.Target]probes.Cause{b: healthy}},
		{3, map[probes.Target]probes.Cause{a: disconnected, b: healthy}},
	})
	if v.Decision.Remediate || state[a].Looks != 1 {
		t.Errorf("what was forgotten still counts: %+v", state[a])
	}
}

func TestNextIsTheSoonestOfAllMounts(t *testing.T) {
	seen := map[probes.Target]probes.Cause{newTarget("app", "a", "/a"): healthy, newTarget("app", "b", "/b"): stale, newTarget("app", "c", "/c"): ioError}
	if _, v := judgeRounds(rules, []scriptedRound{{0, seen}}); v.Next != verdict.ConfirmErrnoAfter {
		t.Errorf("looks again after %s, want %s", v.Next, verdict.ConfirmErrnoAfter)
	}
}

// The probes of a pod are judged together, when the slowest has ended.
func TestNextWhenTheTimeToConfirmIsOver(t *testing.T) {
	for cause, want := range map[probes.Cause]time.Duration{disconnected: verdict.ConfirmErrnoAfter, notMounted: verdict.ConfirmErrnoAfter, ioError: rules.Period} {
		seen := []probes.Observation{scriptedProbe{at: 0, cause: cause}.toObservation(data)}
		if _, v := verdict.Step(nil, seen, rules, at(5)); v.Next != want {
			t.Errorf("%s seen five seconds ago: looks again after %s, want %s", cause, v.Next, want)
		}
	}
}

func TestNoObservations(t *testing.T) {
	state, v := verdict.Step(nil, nil, rules, at(0))
	if len(state) != 0 || v.Decision.Remediate || v.Failed || v.Next != rules.Period {
		t.Errorf("nothing was seen, got %+v and %+v", state, v)
	}
}

func TestStepLeavesItsInputAlone(t *testing.T) {
	state, _ := judgeScript(rules, newScript(ioError, 0, 10))
	before := maps.Clone(state)
	for _, cause := range []probes.Cause{healthy, unknown, ioError, hung, disconnected} {
		observations := []probes.Observation{scriptedProbe{at: 20, cause: cause}.toObservation(data)}
		given := slices.Clone(observations)
		verdict.Step(state, observations, rules, at(20))
		if !maps.Equal(state, before) || !slices.Equal(observations, given) {
			t.Fatalf("a look that found %s changed the input", cause)
		}
	}
}
