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

// look is one look in a script. Cause healthy and unknown stand for these results.
type look struct {
	at    float64 // seconds, when it ended
	cause probes.Cause
	since float64 // of a hang: when the question was asked; 0 is half a second before its end
	hint  hint
}

// hint is what a prober adds to a broken look.
type hint string

const (
	byDesign  hint = "by design"
	tentative hint = "tentative"
)

const (
	healthy probes.Cause = "healthy"
	unknown probes.Cause = "unknown"
)

func (l look) observation(target probes.Target) probes.Observation {
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

// hinted adds a hint to every look of a script.
func hinted(h hint, looks []look) []look {
	for i := range looks {
		looks[i].hint = h
	}
	return looks
}

// script writes looks shortly: a cause and the seconds at which it was found.
func script(cause probes.Cause, seconds ...float64) []look {
	var looks []look
	for _, s := range seconds {
		looks = append(looks, look{at: s, cause: cause})
	}
	return looks
}

func join(parts ...[]look) []look { return slices.Concat(parts...) }

// play judges one mount's looks one after the other and returns the last state and every verdict.
func play(r verdict.Rules, looks []look) (verdict.State, []verdict.Verdict) {
	var (
		state    verdict.State
		verdicts []verdict.Verdict
	)
	for _, l := range looks {
		var v verdict.Verdict
		state, v = verdict.Step(state, []probes.Observation{l.observation(data)}, r, at(l.at))
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
		looks []look
	}{
		{"no look", rules, nil},
		{"always healthy", rules, script(healthy, 0, 10, 20, 30, 40, 50)},
		{"always unknown", rules, script(unknown, 0, 10, 20, 30, 40, 50, 60, 70, 1000, 100000)},
		{"unknown after healthy", rules, join(script(healthy, 0), script(unknown, 10, 20, 30, 40, 50, 60))},

		{"one disconnected", rules, script(disconnected, 0)},
		{"one stale", rules, script(stale, 0)},
		{"one not mounted", rules, script(notMounted, 0)},
		{"one disconnected, threshold 1", once, script(disconnected, 0)},
		{"disconnected twice at the same time", rules, script(disconnected, 0, 0.009)},
		{"not mounted twice within a second", rules, script(notMounted, 0, 0.999)},
		{"not mounted many times within a second", rules, script(notMounted, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.999)},
		{"stale, then not mounted, within a second", rules, join(script(stale, 0), script(notMounted, 0.5))},
		{"disconnected, then healthy, then disconnected", rules, join(script(disconnected, 0), script(healthy, 1), script(disconnected, 2))},
		{"disconnected every other time", rules, join(script(disconnected, 0), script(healthy, 10), script(disconnected, 20), script(healthy, 30), script(disconnected, 40), script(healthy, 50))},
		{"disconnected, then unknown for ever", rules, join(script(disconnected, 0), script(unknown, 1, 10, 20, 30, 40, 1000))},
		{"not mounted, then mounted", rules, join(script(notMounted, 0, 0.5), script(healthy, 1.5))},
		{"stale and input/output error by turns, twice", rules, join(script(stale, 0), script(ioError, 10), script(stale, 20))},

		{"one disconnected that may mend itself", rules, hinted(tentative, script(disconnected, 0))},
		{"two that may mend themselves", rules, hinted(tentative, script(disconnected, 0, 10))},
		{"many that may mend themselves, within a period", rules, hinted(tentative, script(notMounted, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9))},
		{"one that may mend itself, one that may not", rules, join(hinted(tentative, script(disconnected, 0)), script(disconnected, 10))},

		{"read-only from the beginning", rules, hinted(byDesign, script(readOnly, 0, 10, 20, 30, 40, 50, 60))},
		{"read-only by design after unknown", rules, join(script(unknown, 0, 10), hinted(byDesign, script(readOnly, 20, 30, 40, 50, 60)))},
		{"read-only by design after an error", rules, join(script(ioError, 0, 10), hinted(byDesign, script(readOnly, 20, 30, 40, 50, 60)))},
		{"read-only by design cancels errors", rules, join(script(ioError, 0, 10), hinted(byDesign, script(readOnly, 20)), script(ioError, 30, 40))},
		{"two of three read-only", rules, join(script(healthy, 0), hinted(byDesign, script(readOnly, 10, 20)))},
		{"read-only for a moment", rules, join(script(healthy, 0), hinted(byDesign, script(readOnly, 10, 20)), script(healthy, 30), hinted(byDesign, script(readOnly, 40, 50)))},
		{"a canary that was never there", rules, hinted(byDesign, script(canary, 0, 10, 20, 30, 40, 50, 60))},
		{"a missing canary advances nothing", rules, join(script(ioError, 0, 10), hinted(byDesign, script(canary, 20, 30, 40)))},
		{"two of three canaries", rules, join(script(healthy, 0), hinted(byDesign, script(canary, 10, 20)))},

		{"one input/output error", rules, script(ioError, 0)},
		{"one input/output error, threshold 1", once, script(ioError, 0)},
		{"two of three input/output errors", rules, script(ioError, 0, 10)},
		{"two of three, however far apart", rules, script(ioError, 0, 86400)},
		{"two, healthy, two", rules, join(script(ioError, 0, 10), script(healthy, 20), script(ioError, 30, 40))},
		{"two, then unknown for ever", rules, join(script(ioError, 0, 10), script(unknown, 20, 30, 40, 50, 60))},
		{"many errors within a period", rules, script(ioError, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)},
		{"as many as count, short of three half periods", rules, script(ioError, 0, 4.9, 5, 9.9)},
		{"two errors and two hangs", rules, join(script(ioError, 0), script(hung, 10), script(ioError, 20), script(hung, 30))},

		{"one hang", rules, script(hung, 5)},
		{"one hang, older than the limit", rules, []look{{at: 100, cause: hung, since: 1}}},
		{"one hang, as long as the limit", shortHang, []look{{at: 100, cause: hung, since: 95}}},
		{"hung for short of 40 s", rules, []look{{5, hung, 0.1, ""}, {15, hung, 0.1, ""}, {25, hung, 0.1, ""}, {35, hung, 0.1, ""}, {40, hung, 0.1, ""}}},
		{"hung, released before 40 s, hung again", rules, []look{{5, hung, 0.1, ""}, {35, hung, 0.1, ""}, {38, healthy, 0, ""}, {43, hung, 38.1, ""}, {70, hung, 38.1, ""}}},
		{"a hang older than the last answer", rules, []look{{50, healthy, 0, ""}, {55, hung, 1, ""}, {60, hung, 1, ""}, {89, hung, 1, ""}}},
		{"hung, unknown for long, hung anew", rules, join(script(hung, 5), script(unknown, 15, 25, 35, 45), script(hung, 55, 65, 75, 85, 94))},
		{"hung, then unknown for ever", rules, join(script(hung, 5, 15), script(unknown, 25, 35, 45, 55, 600))},

		{"failed, not yet settled", settle, script(disconnected, 0, 1, 11, 21, 30.9)},
		{"failed, healthy before it settled", settle, join(script(disconnected, 0, 1, 11), script(healthy, 21), script(disconnected, 30, 31, 45))},
		{"failed, unknown since", settle, join(script(disconnected, 0, 1), script(unknown, 11, 21, 31, 41, 51))},
		{"errors, not yet settled", settle, script(ioError, 0, 10, 20, 30, 40, 49.9)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := play(tc.rules, tc.looks)
			for i, v := range verdicts {
				if v.Decision.Remediate || len(v.Decision.Failures) > 0 || v.Decision.Definitive() {
					t.Errorf("look %d decided %+v", i, v.Decision)
				}
			}
		})
	}
}

// Only the last look of each script may lead to the decision.
func TestDecision(t *testing.T) {
	settle := rules
	settle.Settle = 30 * time.Second
	once := rules
	once.FailureThreshold = 1
	for _, tc := range []struct {
		name       string
		rules      verdict.Rules
		looks      []look
		since      float64
		count      int
		definitive bool
	}{
		{"disconnected twice", rules, script(disconnected, 0, 0.01), -0.5, 2, true},
		{"stale, seen too often", rules, script(stale, 0, 0.005, 0.01), -0.5, 3, true},
		{"not mounted for a second", rules, script(notMounted, 0, 0.5, 1), -0.5, 3, true},
		{"disconnected, may mend itself", rules, hinted(tentative, script(disconnected, 0, 10, 20)), -0.5, 3, false},
		{"not mounted, may mend itself, threshold 1", once, hinted(tentative, script(notMounted, 0, 10)), -0.5, 2, false},
		{"read-only, was not so", rules, join(script(healthy, 0), hinted(byDesign, script(readOnly, 10, 20, 30))), 9.5, 3, false},
		{"read-only, was not so, then was for a while", rules, join(script(healthy, 0), hinted(byDesign, script(readOnly, 10, 20)), script(unknown, 30), hinted(byDesign, script(readOnly, 40))), 9.5, 3, false},
		{"read-only, beyond doubt", rules, script(readOnly, 0, 10, 20), -0.5, 3, false},
		{"the canary is gone", rules, join(script(healthy, 0), hinted(byDesign, script(canary, 10, 20, 30))), 9.5, 3, false},
		{"the canary cannot be read", rules, script(canary, 0, 10, 20), -0.5, 3, false},
		{"errors that an event announced", rules, script(ioError, 0, 3, 6, 10, 16), -0.5, 5, false},
		{"hung, unknown between, the same question", rules, join(script(hung, 5), script(unknown, 15, 25), []look{{45, hung, 4.5, ""}}), 4.5, 2, false},
		{"not mounted, unknown between", rules, join(script(notMounted, 0), script(unknown, 1, 2), script(notMounted, 3)), -0.5, 2, true},
		{"disconnected after health", rules, join(script(healthy, 0), script(disconnected, 10, 11)), 9.5, 2, true},
		{"one definitive cause after another", rules, join(script(stale, 0), script(disconnected, 1)), -0.5, 2, true},
		{"three input/output errors", rules, script(ioError, 0, 10, 20), -0.5, 3, false},
		{"three, unknown between", rules, join(script(ioError, 0), script(unknown, 10), script(ioError, 20), script(unknown, 30, 40, 50, 60), script(ioError, 70)), -0.5, 3, false},
		{"threshold 1 still takes two", once, script(ioError, 0, 10), -0.5, 2, false},
		{"hung for 40 s", rules, []look{{5, hung, 0.1, ""}, {15, hung, 0.1, ""}, {40.1, hung, 0.1, ""}}, 0.1, 3, false},
		{"hung long before the first look", rules, []look{{500, hung, 1, ""}, {510, hung, 1, ""}}, 1, 2, false},
		{"a hang older than the last answer", rules, []look{{50, healthy, 0, ""}, {55, hung, 1, ""}, {90, hung, 1, ""}}, 50, 2, false},
		{"errors turn into a hang", rules, []look{{0, ioError, 0, ""}, {10, ioError, 0, ""}, {39.5, hung, 30, ""}}, -0.5, 3, false},
		{"a hang turns into errors", rules, join(script(hung, 5), script(ioError, 10, 20, 30)), 4.5, 4, false},
		{"errors turn definitive", rules, join(script(ioError, 0, 10), script(disconnected, 20, 21)), -0.5, 4, true},
		{"definitive and not, by turns", rules, join(script(stale, 0), script(ioError, 10), script(stale, 20), script(ioError, 30)), -0.5, 4, false},
		{"settled", settle, script(disconnected, 0, 1, 11, 31), -0.5, 4, true},
		{"settled, unknown between", settle, join(script(disconnected, 0, 1), script(unknown, 31), script(disconnected, 32)), -0.5, 3, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := play(tc.rules, tc.looks)
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
			if want := tc.looks[last].observation(data); reason.Observation != want {
				t.Errorf("rests on %+v, want the latest look %+v", reason.Observation, want)
			}
		})
	}
}

// What failed for another cause is not definitive for one look that is: a deletion past the budgets needs two.
func TestDefinitiveNeedsItsOwnConfirmation(t *testing.T) {
	looks := join(script(ioError, 0, 10, 20), script(disconnected, 30, 30.005, 30.01), script(ioError, 41), script(disconnected, 51))
	want := []bool{false, false, false, false, false, true, false, false}
	_, verdicts := play(rules, looks)
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
	state, _ := play(rules, script(ioError, 0, 10))
	before := state[data]
	for i := 1; i <= 5; i++ {
		state, _ = verdict.Step(state, []probes.Observation{look{at: 10 + float64(i), cause: unknown}.observation(data)}, rules, at(10+float64(i)))
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

func TestSightLost(t *testing.T) {
	for _, tc := range []struct {
		name  string
		looks []look
		lost  []bool
	}{
		{"from the start, told once", script(unknown, 0, 10, 20, 30, 40), []bool{false, false, true, false, false}},
		{"told again after it was seen", join(script(unknown, 0, 10, 20), script(healthy, 30), script(unknown, 40, 50, 60)), []bool{false, false, true, false, false, false, true}},
		{"a failed mount", join(script(disconnected, 0, 1), script(unknown, 2, 3, 4, 5)), []bool{false, false, false, false, true, false}},
		{"short gaps", join(script(unknown, 0, 10), script(ioError, 20), script(unknown, 30, 40), script(healthy, 50)), make([]bool, 6)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := play(rules, tc.looks)
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
	looks := join(script(healthy, 0), script(ioError, 10, 20, 30, 40), script(healthy, 50), script(disconnected, 60), script(healthy, 61))
	_, verdicts := play(rules, looks)
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

func TestWarningsAreToldOnce(t *testing.T) {
	warning := func(at float64, w probes.Warning) probes.Observation {
		o := look{at: at, cause: healthy}.observation(data)
		o.Warning = w
		return o
	}
	var state verdict.State
	var got []bool
	for i, o := range []probes.Observation{
		warning(0, ""), warning(10, probes.WarningNoSpace), warning(20, probes.WarningNoSpace), look{at: 30, cause: unknown}.observation(data),
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
	state, _ := play(rules, hinted(byDesign, script(readOnly, 0)))
	if m := state[data]; m.Phase != verdict.Healthy || m.Observation.Health != probes.Healthy || m.Observation.Cause != probes.CauseNone {
		t.Errorf("read-only by design is %+v", m)
	}
	state, _ = play(rules, hinted(byDesign, script(canary, 0)))
	if m := state[data]; m.Phase != verdict.Unjudged || m.Unseen != 1 || m.Blind == "" {
		t.Errorf("a canary that was never seen is %+v", m)
	}
}

func TestFailedIsSaidBeforeItSettles(t *testing.T) {
	settle := rules
	settle.Settle = time.Minute
	_, verdicts := play(settle, join(script(disconnected, 0, 1), script(unknown, 5), script(healthy, 10)))
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
		looks []look
		want  time.Duration
	}{
		{"healthy", rules, script(healthy, 0), 10 * time.Second},
		{"unknown", rules, script(unknown, 0), 10 * time.Second},
		{"a definitive suspect is confirmed at once", rules, script(disconnected, 0), 10 * time.Millisecond},
		{"a missing mount is confirmed after a second", rules, script(notMounted, 0), time.Second},
		{"the rest of the second", rules, script(notMounted, 0, 0.75), 250 * time.Millisecond},
		{"what may mend itself waits for its turn", rules, hinted(tentative, script(disconnected, 0)), 10 * time.Second},
		{"an error waits for its turn", rules, script(ioError, 0), 10 * time.Second},
		{"a hang far from its limit", rules, []look{{5, hung, 0.1, ""}}, 10 * time.Second},
		{"a hang close to its limit", rules, []look{{5, hung, 0.5, ""}, {37.5, hung, 0.5, ""}}, 3 * time.Second},
		{"a hang past its limit at the first look", rules, []look{{100, hung, 1, ""}}, 10 * time.Second},
		{"failed, to be settled", settle, script(disconnected, 0, 1), 4 * time.Second},
		{"failed, settled", settle, script(disconnected, 0, 1, 5), 10 * time.Second},
		{"failed", rules, script(disconnected, 0, 1), 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, verdicts := play(tc.rules, tc.looks)
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
