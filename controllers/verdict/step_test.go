package verdict_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// rules are the defaults of a pod.
var rules = verdict.Rules{FailureThreshold: 3, Hang: 40 * time.Second, Period: 10 * time.Second}

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

var data = probes.Target{Container: "app", Volume: "data", Path: "/data"}

// scriptedProbe is one observation in a script. Cause healthy and unknown stand for these results.
type scriptedProbe struct {
	at    float64 // seconds, when it ended
	cause probes.Cause
	since float64 // of a hang: when the question was asked; 0 is half a second before its end
	hint  hint
}

// hint is what a prober adds to a broken observation.
type hint string

const (
	byDesign  hint = "by design"
	tentative hint = "tentative"
)

const (
	healthy probes.Cause = "healthy"
	unknown probes.Cause = "unknown"
)

func (l scriptedProbe) toObservation(target probes.Target) probes.Observation {
	o := probes.Observation{Target: target, Started: at(l.at - 0.5), Finished: at(l.at)}
	switch l.cause {
	case healthy:
		o.Health = probes.Healthy
	case unknown:
		o.Detail = "not seen"
	default:
		o.Health, o.Cause = probes.Broken, l.cause
	}
	if l.since != 0 {
		o.Started = at(l.since)
	}
	o.ByDesign, o.Tentative = l.hint == byDesign, l.hint == tentative
	return o
}

// withHint adds a hint to every observation of a script.
func withHint(h hint, looks []scriptedProbe) []scriptedProbe {
	for i := range looks {
		looks[i].hint = h
	}
	return looks
}

// newScript returns a script: a cause and the seconds at which it was found.
func newScript(cause probes.Cause, seconds ...float64) []scriptedProbe {
	var looks []scriptedProbe
	for _, s := range seconds {
		looks = append(looks, scriptedProbe{at: s, cause: cause})
	}
	return looks
}

func joinScripts(parts ...[]scriptedProbe) []scriptedProbe { return slices.Concat(parts...) }

// judgeScript judges one mount's observations one after the other. It returns the last state and
// every verdict.
func judgeScript(r verdict.Rules, looks []scriptedProbe) (verdict.State, []verdict.Verdict) {
	var (
		state    verdict.State
		verdicts []verdict.Verdict
	)
	for _, l := range looks {
		var v verdict.Verdict
		state, v = verdict.Step(state, []probes.Observation{l.toObservation(data)}, r, at(l.at))
		verdicts = append(verdicts, v)
	}
	return state, verdicts
}

func remediates(verdicts []verdict.Verdict) bool {
	return slices.ContainsFunc(verdicts, func(v verdict.Verdict) bool { return v.Decision.Remediate })
}

const (
	disconnected = probes.CauseDisconnected
	stale        = probes.CauseStale
	notMounted   = probes.CauseNotMounted
	ioError      = probes.CauseIOError
	hung         = probes.CauseHung
	readOnly     = probes.CauseReadOnly
	canary       = probes.CauseCanaryFailed
)

// Nothing here may ever remove a pod.
func TestNoDecision(t *testing.T) {
	with := func(change func(*verdict.Rules)) verdict.Rules {
		r := rules
		change(&r)
		return r
	}
	once := with(func(r *verdict.Rules) { r.FailureThreshold = 1 })
	settle := with(func(r *verdict.Rules) { r.Settle = 30 * time.Second })
	shortHang := with(func(r *verdict.Rules) { r.Hang = 5 * time.Second })
	for _, tc := range []struct {
		name  string
		rules verdict.Rules
		looks []scriptedProbe
	}{
		{"no look", rules, nil},
		{"always healthy", rules, newScript(healthy, 0, 10, 20, 30, 40, 50)},
		{"always unknown", rules, newScript(unknown, 0, 10, 20, 30, 40, 50, 60, 70, 1000, 100000)},
		{"unknown after healthy", rules, joinScripts(newScript(healthy, 0), newScript(unknown, 10, 20, 30, 40, 50, 60))},

		{"one disconnected", rules, newScript(disconnected, 0)},
		{"one stale", rules, newScript(stale, 0)},
		{"one not mounted", rules, newScript(notMounted, 0)},
		{"one disconnected, threshold 1", once, newScript(disconnected, 0)},
		{"disconnected twice at the same time", rules, newScript(disconnected, 0, 0.009)},
		{"not mounted twice within a second", rules, newScript(notMounted, 0, 0.999)},
		{"not mounted many times within a second", rules, newScript(notMounted, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.999)},
		{"stale, then not mounted, within a second", rules, joinScripts(newScript(stale, 0), newScript(notMounted, 0.5))},
		{"disconnected, then healthy, then disconnected", rules, joinScripts(newScript(disconnected, 0), newScript(healthy, 1), newScript(disconnected, 2))},
		{"disconnected every other time", rules, joinScripts(newScript(disconnected, 0), newScript(healthy, 10), newScript(disconnected, 20), newScript(healthy, 30), newScript(disconnected, 40), newScript(healthy, 50))},
		{"disconnected, then unknown for ever", rules, joinScripts(newScript(disconnected, 0), newScript(unknown, 1, 10, 20, 30, 40, 1000))},
		{"not mounted, then mounted", rules, joinScripts(newScript(notMounted, 0, 0.5), newScript(healthy, 1.5))},
		{"stale and input/output error by turns, twice", rules, joinScripts(newScript(stale, 0), newScript(ioError, 10), newScript(stale, 20))},

		{"one disconnected that may mend itself", rules, withHint(tentative, newScript(disconnected, 0))},
		{"two that may mend themselves", rules, withHint(tentative, newScript(disconnected, 0, 10))},
		{"many that may mend themselves, within a period", rules, withHint(tentative, newScript(notMounted, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9))},
		{"one that may mend itself, one that may not", rules, joinScripts(withHint(tentative, newScript(disconnected, 0)), newScript(disconnected, 10))},

		{"read-only from the beginning", rules, withHint(byDesign, newScript(readOnly, 0, 10, 20, 30, 40, 50, 60))},
		{"read-only by design after unknown", rules, joinScripts(newScript(unknown, 0, 10), withHint(byDesign, newScript(readOnly, 20, 30, 40, 50, 60)))},
		{"read-only by design after an error", rules, joinScripts(newScript(ioError, 0, 10), withHint(byDesign, newScript(readOnly, 20, 30, 40, 50, 60)))},
		{"read-only by design cancels errors", rules, joinScripts(newScript(ioError, 0, 10), withHint(byDesign, newScript(readOnly, 20)), newScript(ioError, 30, 40))},
		{"two of three read-only", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(readOnly, 10, 20)))},
		{"read-only for a moment", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(readOnly, 10, 20)), newScript(healthy, 30), withHint(byDesign, newScript(readOnly, 40, 50)))},
		{"a canary that was never there", rules, withHint(byDesign, newScript(canary, 0, 10, 20, 30, 40, 50, 60))},
		{"a missing canary advances nothing", rules, joinScripts(newScript(ioError, 0, 10), withHint(byDesign, newScript(canary, 20, 30, 40)))},
		{"two of three canaries", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(canary, 10, 20)))},

		{"one input/output error", rules, newScript(ioError, 0)},
		{"one input/output error, threshold 1", once, newScript(ioError, 0)},
		{"two of three input/output errors", rules, newScript(ioError, 0, 10)},
		{"two of three, however far apart", rules, newScript(ioError, 0, 86400)},
		{"two, healthy, two", rules, joinScripts(newScript(ioError, 0, 10), newScript(healthy, 20), newScript(ioError, 30, 40))},
		{"two, then unknown for ever", rules, joinScripts(newScript(ioError, 0, 10), newScript(unknown, 20, 30, 40, 50, 60))},
		{"many errors within a period", rules, newScript(ioError, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
		{"as many as count, short of three half periods", rules, newScript(ioError, 0, 4.9, 5, 9.9)},
		{"two errors and two hangs", rules, joinScripts(newScript(ioError, 0), newScript(hung, 10), newScript(ioError, 20), newScript(hung, 30))},

		{"one hang", rules, newScript(hung, 5)},
		{"one hang, older than the limit", rules, []scriptedProbe{{at: 100, cause: hung, since: 1}}},
		{"one hang, as long as the limit", shortHang, []scriptedProbe{{at: 100, cause: hung, since: 95}}},
		{"hung for short of 40 s", rules, []scriptedProbe{{5, hung, 0.1, ""}, {15, hung, 0.1, ""}, {25, hung, 0.1, ""}, {35, hung, 0.1, ""}, {40, hung, 0.1, ""}}},
		{"hung, released before 40 s, hung again", rules, []scriptedProbe{{5, hung, 0.1, ""}, {35, hung, 0.1, ""}, {38, healthy, 0, ""}, {43, hung, 38.1, ""}, {70, hung, 38.1, ""}}},
		{"a hang older than the last answer", rules, []scriptedProbe{{50, healthy, 0, ""}, {55, hung, 1, ""}, {60, hung, 1, ""}, {89, hung, 1, ""}}},
		{"hung, unknown for long, hung anew", rules, joinScripts(newScript(hung, 5), newScript(unknown, 15, 25, 35, 45), newScript(hung, 55, 65, 75, 85, 94))},
		{"hung, then unknown for ever", rules, joinScripts(newScript(hung, 5, 15), newScript(unknown, 25, 35, 45, 55, 600))},

		{"failed, not yet settled", settle, newScript(disconnected, 0, 1, 11, 21, 30.9)},
		{"failed, healthy before it settled", settle, joinScripts(newScript(disconnected, 0, 1, 11), newScript(healthy, 21), newScript(disconnected, 30, 31, 45))},
		{"failed, unknown since", settle, joinScripts(newScript(disconnected, 0, 1), newScript(unknown, 11, 21, 31, 41, 51))},
		{"errors, not yet settled", settle, newScript(ioError, 0, 10, 20, 30, 40, 49.9)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := judgeScript(tc.rules, tc.looks)
			for i, v := range verdicts {
				if v.Decision.Remediate || len(v.Decision.Failures) > 0 || v.Decision.Definitive() {
					t.Errorf("look %d decided %+v", i, v.Decision)
				}
			}
		})
	}
}

// Only the last observation of each script may lead to the decision.
func TestDecision(t *testing.T) {
	settle := rules
	settle.Settle = 30 * time.Second
	once := rules
	once.FailureThreshold = 1
	for _, tc := range []struct {
		name       string
		rules      verdict.Rules
		looks      []scriptedProbe
		since      float64
		count      int
		definitive bool
	}{
		{"disconnected twice", rules, newScript(disconnected, 0, 0.01), -0.5, 2, true},
		{"stale, seen too often", rules, newScript(stale, 0, 0.005, 0.01), -0.5, 3, true},
		{"not mounted for a second", rules, newScript(notMounted, 0, 0.5, 1), -0.5, 3, true},
		{"disconnected, may mend itself", rules, withHint(tentative, newScript(disconnected, 0, 10, 20)), -0.5, 3, false},
		{"not mounted, may mend itself, threshold 1", once, withHint(tentative, newScript(notMounted, 0, 10)), -0.5, 2, false},
		{"read-only, was not so", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(readOnly, 10, 20, 30))), 9.5, 3, false},
		{"read-only, was not so, then was for a while", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(readOnly, 10, 20)), newScript(unknown, 30), withHint(byDesign, newScript(readOnly, 40))), 9.5, 3, false},
		{"read-only, beyond doubt", rules, newScript(readOnly, 0, 10, 20), -0.5, 3, false},
		{"the canary is gone", rules, joinScripts(newScript(healthy, 0), withHint(byDesign, newScript(canary, 10, 20, 30))), 9.5, 3, false},
		{"the canary cannot be read", rules, newScript(canary, 0, 10, 20), -0.5, 3, false},
		{"errors that an event announced", rules, newScript(ioError, 0, 3, 6, 10, 16), -0.5, 5, false},
		{"hung, unknown between, the same question", rules, joinScripts(newScript(hung, 5), newScript(unknown, 15, 25), []scriptedProbe{{45, hung, 4.5, ""}}), 4.5, 2, false},
		{"not mounted, unknown between", rules, joinScripts(newScript(notMounted, 0), newScript(unknown, 1, 2), newScript(notMounted, 3)), -0.5, 2, true},
		{"disconnected after health", rules, joinScripts(newScript(healthy, 0), newScript(disconnected, 10, 11)), 9.5, 2, true},
		{"one definitive cause after another", rules, joinScripts(newScript(stale, 0), newScript(disconnected, 1)), -0.5, 2, true},
		{"three input/output errors", rules, newScript(ioError, 0, 10, 20), -0.5, 3, false},
		{"three, unknown between", rules, joinScripts(newScript(ioError, 0), newScript(unknown, 10), newScript(ioError, 20), newScript(unknown, 30, 40, 50, 60), newScript(ioError, 70)), -0.5, 3, false},
		{"threshold 1 still takes two", once, newScript(ioError, 0, 10), -0.5, 2, false},
		{"hung for 40 s", rules, []scriptedProbe{{5, hung, 0.1, ""}, {15, hung, 0.1, ""}, {40.1, hung, 0.1, ""}}, 0.1, 3, false},
		{"hung long before the first look", rules, []scriptedProbe{{500, hung, 1, ""}, {510, hung, 1, ""}}, 1, 2, false},
		{"a hang older than the last answer", rules, []scriptedProbe{{50, healthy, 0, ""}, {55, hung, 1, ""}, {90, hung, 1, ""}}, 50, 2, false},
		{"errors turn into a hang", rules, []scriptedProbe{{0, ioError, 0, ""}, {10, ioError, 0, ""}, {39.5, hung, 30, ""}}, -0.5, 3, false},
		{"a hang turns into errors", rules, joinScripts(newScript(hung, 5), newScript(ioError, 10, 20, 30)), 4.5, 4, false},
		{"errors turn definitive", rules, joinScripts(newScript(ioError, 0, 10), newScript(disconnected, 20, 21)), -0.5, 4, true},
		{"definitive and not, by turns", rules, joinScripts(newScript(stale, 0), newScript(ioError, 10), newScript(stale, 20), newScript(ioError, 30)), -0.5, 4, false},
		{"settled", settle, newScript(disconnected, 0, 1, 11, 31), -0.5, 4, true},
		{"settled, unknown between", settle, joinScripts(newScript(disconnected, 0, 1), newScript(unknown, 31), newScript(disconnected, 32)), -0.5, 3, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := judgeScript(tc.rules, tc.looks)
			last := len(verdicts) - 1
			if remediates(verdicts[:last]) {
				t.Fatal("decided before the last look")
			}
			got := verdicts[last].Decision
			reason, ok := got.Reason()
			if !got.Remediate || !ok {
				t.Fatalf("no decision: %+v", verdicts[last])
			}
			if got.Definitive() != tc.definitive {
				t.Errorf("definitive is %v, want %v", got.Definitive(), tc.definitive)
			}
			if reason.Looks != tc.count || !reason.Since.Equal(at(tc.since)) {
				t.Errorf("%d looks since %s, want %d since %s", reason.Looks, reason.Since, tc.count, at(tc.since))
			}
			if want := tc.looks[last].toObservation(data); reason.Observation != want {
				t.Errorf("rests on %+v, want the latest look %+v", reason.Observation, want)
			}
		})
	}
}

// One permanent observation after other causes does not make the failure permanent: a deletion that
// ignores budgets needs two.
func TestDefinitiveNeedsItsOwnConfirmation(t *testing.T) {
	looks := joinScripts(newScript(ioError, 0, 10, 20), newScript(disconnected, 30, 30.005, 30.01), newScript(ioError, 41), newScript(disconnected, 51))
	want := []bool{false, false, false, false, false, true, false, false}
	_, verdicts := judgeScript(rules, looks)
	for i, v := range verdicts {
		if got := v.Decision.Definitive(); got != want[i] {
			t.Errorf("look %d: definitive is %v, want %v", i, got, want[i])
		}
		if v.Decision.Remediate != (i >= 2) {
			t.Errorf("look %d: remediate is %v", i, v.Decision.Remediate)
		}
	}
}

func TestZeroDecisionRemovesNothing(t *testing.T) {
	var d verdict.Decision
	if _, ok := d.Reason(); ok || d.Remediate || d.Definitive() {
		t.Errorf("the zero value is not empty: %+v", d)
	}
}

func TestUnknownResetsNothing(t *testing.T) {
	state, _ := judgeScript(rules, newScript(ioError, 0, 10))
	before := state[data]
	for i := 1; i <= 5; i++ {
		state, _ = verdict.Step(state, []probes.Observation{scriptedProbe{at: 10 + float64(i), cause: unknown}.toObservation(data)}, rules, at(10+float64(i)))
		got := state[data]
		if got.Unseen != i || got.Blind != "not seen" {
			t.Errorf("unseen %d times (%q), want %d", got.Unseen, got.Blind, i)
		}
		got.Unseen, got.Blind = 0, ""
		if got != before {
			t.Errorf("an unknown look changed %+v to %+v", before, got)
		}
	}
}

func TestLostWhenLongUnknown(t *testing.T) {
	for _, tc := range []struct {
		name  string
		looks []scriptedProbe
		lost  []bool
	}{
		{"from the start, told once", newScript(unknown, 0, 10, 20, 30, 40), []bool{false, false, true, false, false}},
		{"told again after it was seen", joinScripts(newScript(unknown, 0, 10, 20), newScript(healthy, 30), newScript(unknown, 40, 50, 60)), []bool{false, false, true, false, false, false, true}},
		{"a failed mount", joinScripts(newScript(disconnected, 0, 1), newScript(unknown, 2, 3, 4, 5)), []bool{false, false, false, false, true, false}},
		{"short gaps", joinScripts(newScript(unknown, 0, 10), newScript(ioError, 20), newScript(unknown, 30, 40), newScript(healthy, 50)), make([]bool, 6)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := judgeScript(rules, tc.looks)
			for i, v := range verdicts {
				lost := slices.ContainsFunc(v.Transitions, func(t verdict.Transition) bool { return t.Lost })
				if lost != tc.lost[i] {
					t.Errorf("look %d: lost is %v, want %v", i, lost, tc.lost[i])
				}
			}
		})
	}
}

func TestTransitions(t *testing.T) {
	looks := joinScripts(newScript(healthy, 0), newScript(ioError, 10, 20, 30, 40), newScript(healthy, 50), newScript(disconnected, 60), newScript(healthy, 61))
	_, verdicts := judgeScript(rules, looks)
	var got []string
	for _, v := range verdicts {
		for _, t := range v.Transitions {
			got = append(got, t.From.Phase.String()+"-"+t.To.Phase.String())
		}
	}
	want := []string{"Unjudged-Healthy", "Healthy-Suspect", "Suspect-Failed", "Failed-Healthy", "Healthy-Suspect", "Suspect-Healthy"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("transitions (-want +got):\n%s", diff)
	}
}

func TestWarningsAreReportedOnce(t *testing.T) {
	warning := func(at float64, w probes.Warning) probes.Observation {
		o := scriptedProbe{at: at, cause: healthy}.toObservation(data)
		o.Warning = w
		return o
	}
	var state verdict.State
	var got []bool
	for i, o := range []probes.Observation{
		warning(0, ""), warning(10, probes.WarningNoSpace), warning(20, probes.WarningNoSpace), scriptedProbe{at: 30, cause: unknown}.toObservation(data),
		warning(40, probes.WarningNoSpace), warning(50, probes.WarningHostBroken), warning(60, ""), warning(70, ""),
	} {
		var v verdict.Verdict
		state, v = verdict.Step(state, []probes.Observation{o}, rules, at(float64(10*i)))
		if v.Failed || v.Decision.Remediate || v.Next != rules.Period {
			t.Errorf("look %d: a warning is no failure: %+v", i, v)
		}
		got = append(got, slices.ContainsFunc(v.Transitions, func(t verdict.Transition) bool { return t.Warned }))
	}
	if diff := cmp.Diff([]bool{false, true, false, false, false, true, true, false}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What is so by design answers well, or proves nothing.
func TestByDesign(t *testing.T) {
	state, _ := judgeScript(rules, withHint(byDesign, newScript(readOnly, 0)))
	if m := state[data]; m.Phase != verdict.Healthy || m.Observation.Health != probes.Healthy || m.Observation.Cause != probes.CauseNone {
		t.Errorf("read-only by design is %+v", m)
	}
	state, _ = judgeScript(rules, withHint(byDesign, newScript(canary, 0)))
	if m := state[data]; m.Phase != verdict.Unjudged || m.Unseen != 1 || m.Blind == "" {
		t.Errorf("a canary that was never seen is %+v", m)
	}
}

func TestFailedIsSetBeforeItSettles(t *testing.T) {
	settle := rules
	settle.Settle = time.Minute
	_, verdicts := judgeScript(settle, joinScripts(newScript(disconnected, 0, 1), newScript(unknown, 5), newScript(healthy, 10)))
	for i, want := range []bool{false, true, true, false} {
		if verdicts[i].Failed != want {
			t.Errorf("look %d: failed is %v, want %v", i, verdicts[i].Failed, want)
		}
	}
}

func TestNext(t *testing.T) {
	settle := rules
	settle.Settle = 4 * time.Second
	for _, tc := range []struct {
		name  string
		rules verdict.Rules
		looks []scriptedProbe
		want  time.Duration
	}{
		{"healthy", rules, newScript(healthy, 0), 10 * time.Second},
		{"unknown", rules, newScript(unknown, 0), 10 * time.Second},
		{"a definitive suspect is confirmed at once", rules, newScript(disconnected, 0), 10 * time.Millisecond},
		{"a missing mount is confirmed after a second", rules, newScript(notMounted, 0), time.Second},
		{"the rest of the second", rules, newScript(notMounted, 0, 0.75), 250 * time.Millisecond},
		{"what may mend itself waits for its turn", rules, withHint(tentative, newScript(disconnected, 0)), 10 * time.Second},
		{"an error waits for its turn", rules, newScript(ioError, 0), 10 * time.Second},
		{"a hang far from its limit", rules, []scriptedProbe{{5, hung, 0.1, ""}}, 10 * time.Second},
		{"a hang close to its limit", rules, []scriptedProbe{{5, hung, 0.5, ""}, {37.5, hung, 0.5, ""}}, 3 * time.Second},
		{"a hang past its limit at the first look", rules, []scriptedProbe{{100, hung, 1, ""}}, 10 * time.Second},
		{"failed, to be settled", settle, newScript(disconnected, 0, 1), 4 * time.Second},
		{"failed, settled", settle, newScript(disconnected, 0, 1, 5), 10 * time.Second},
		{"failed", rules, newScript(disconnected, 0, 1), 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := judgeScript(tc.rules, tc.looks)
			if got := verdicts[len(verdicts)-1].Next; got != tc.want {
				t.Errorf("looks again after %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPhaseNames(t *testing.T) {
	want := map[verdict.Phase]string{
		verdict.Unjudged: "Unjudged", verdict.Healthy: "Healthy", verdict.Suspect: "Suspect", verdict.Failed: "Failed", 99: "Unjudged",
	}
	for phase, name := range want {
		if phase.String() != name {
			t.Errorf("phase %d is %q, want %q", phase, phase, name)
		}
	}
}
