package verdict_test

import (
	"fmt"
	"maps"
	"math/rand"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// randomWalk is a random history of a pod's mounts, with records that do not depend on the package.
type randomWalk struct {
	random  *rand.Rand
	rules   verdict.Rules
	targets []probes.Target
	state   verdict.State
	now     time.Time
	history map[probes.Target][]probes.Observation // since the last healthy observation, without Unknown
	gaps    map[probes.Target]int                  // how long the history was at the last Unknown observation
	better  map[probes.Target]bool                 // was seen healthy once, not merely by design
}

func newRandomWalk(seed int64) *randomWalk {
	random := rand.New(rand.NewSource(seed))
	w := &randomWalk{random: random, now: epoch, history: map[probes.Target][]probes.Observation{}, gaps: map[probes.Target]int{}, better: map[probes.Target]bool{}}
	seconds := func(n int) time.Duration { return time.Duration(random.Intn(n)) * time.Second }
	w.rules = verdict.Rules{FailureThreshold: 1 + random.Intn(4), Hang: time.Second + seconds(60), Settle: seconds(2) * 15, Period: time.Second + seconds(15)}
	for i := range 1 + random.Intn(3) {
		w.targets = append(w.targets, newTarget("app", fmt.Sprint("v", i), fmt.Sprint("/", i)))
	}
	return w
}

// newObservation makes a random observation. Health is rare enough for failures to be confirmed,
// and common enough to cancel some.
func (w *randomWalk) newObservation(target probes.Target) probes.Observation {
	o := probes.Observation{Target: target, Finished: w.now, Started: w.now.Add(-time.Duration(w.random.Intn(90000)) * time.Millisecond)}
	switch n := w.random.Intn(20); {
	case n < 2:
		o.Health = probes.Healthy
	case n < 5:
		o.Detail = "not seen"
	default:
		o.Health, o.Cause = probes.Broken, probes.Causes()[w.random.Intn(len(probes.Causes()))]
		o.ByDesign, o.Tentative = w.random.Intn(4) == 0, w.random.Intn(4) == 0
	}
	if o.Health != probes.Broken || o.Cause != probes.CauseHung {
		o.Started = o.Finished
	}
	return o
}

// countsAs says what an observation counts as: what was never seen better is healthy or unknown.
func (w *randomWalk) countsAs(o probes.Observation) probes.Health {
	switch {
	case o.Health != probes.Broken || !o.ByDesign || w.better[o.Target]:
		return o.Health
	case o.Cause == probes.CauseReadOnly:
		return probes.Healthy
	default:
		return probes.Unknown
	}
}

func (w *randomWalk) recordObservation(o probes.Observation) {
	switch w.countsAs(o) {
	case probes.Healthy:
		w.history[o.Target] = nil
		w.gaps[o.Target] = 0
		w.better[o.Target] = w.better[o.Target] || o.Health == probes.Healthy
	case probes.Broken:
		w.history[o.Target] = append(w.history[o.Target], o)
	default:
		w.gaps[o.Target] = len(w.history[o.Target])
	}
}

func TestRandomWalks(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("first seed %d", seed)
	decisions := 0
	for i := range int64(400) {
		w := newRandomWalk(seed + i)
		for range 60 {
			w.now = w.now.Add(time.Duration(w.random.Intn(12000)) * time.Millisecond)
			v, err := w.stepAndCheck()
			if err != nil {
				t.Fatalf("seed %d, rules %+v: %v", seed+i, w.rules, err)
			}
			if v.Decision.Remediate {
				decisions++
			}
		}
	}
	if decisions < 1000 {
		t.Errorf("only %d decisions: the walks prove nothing", decisions)
	}
}

// stepAndCheck makes one probe of all mounts and checks everything that must always hold.
func (w *randomWalk) stepAndCheck() (verdict.Verdict, error) {
	var observations []probes.Observation
	latest := map[probes.Target]probes.Observation{}
	meant := map[probes.Target]probes.Health{}
	for _, target := range w.targets {
		o := w.newObservation(target)
		meant[target] = w.countsAs(o)
		w.recordObservation(o)
		latest[target] = o
		observations = append(observations, o)
	}
	before := maps.Clone(w.state)
	next, v := verdict.Step(w.state, observations, w.rules, w.now)
	if !maps.Equal(before, w.state) {
		return v, fmt.Errorf("Step changed its input")
	}
	if v.Next <= 0 || v.Next > w.rules.Period {
		return v, fmt.Errorf("next look after %s", v.Next)
	}
	for target, o := range latest {
		if err := w.checkMount(o, meant[target], before[target], next[target]); err != nil {
			return v, fmt.Errorf("%v: %w", target, err)
		}
	}
	w.state = next
	return v, w.checkDecision(v.Decision, latest)
}

func (w *randomWalk) checkMount(o probes.Observation, meant probes.Health, from, to verdict.Mount) error {
	switch meant {
	case probes.Healthy:
		if to.Phase != verdict.Healthy || to.Observation.Health != probes.Healthy || to.Looks != 0 || to.Unseen != 0 || !to.Since.IsZero() {
			return fmt.Errorf("a healthy look left %+v", to)
		}
	case probes.Unknown:
		from.Unseen++
		from.Blind = to.Blind
		if to != from {
			return fmt.Errorf("an unknown look turned %+v into %+v", from, to)
		}
	case probes.Broken:
		if n := len(w.history[o.Target]); to.Looks != n || to.Observation != o || to.Unseen != 0 {
			return fmt.Errorf("after %d broken looks: %+v", n, to)
		}
		if from.Phase == verdict.Failed && to.Phase != verdict.Failed {
			return fmt.Errorf("a broken look turned Failed into %s", to.Phase)
		}
	}
	return nil
}

// checkDecision compares the decision with the walk's own history.
func (w *randomWalk) checkDecision(d verdict.Decision, latest map[probes.Target]probes.Observation) error {
	if d.Remediate != (len(d.Failures) > 0) {
		return fmt.Errorf("remediate is %v with %d failures", d.Remediate, len(d.Failures))
	}
	for i, f := range d.Failures {
		if i > 0 && f.Definitive && !d.Failures[i-1].Definitive {
			return fmt.Errorf("a definitive failure comes after another: %+v", d.Failures)
		}
		target := f.Observation.Target
		if latest[target].Health != probes.Broken {
			return fmt.Errorf("decided on a look that found %s", latest[target].Health)
		}
		if w.now.Sub(f.Confirmed) < w.rules.Settle {
			return fmt.Errorf("decided before it settled")
		}
		if !w.isProven(w.history[target], w.gaps[target]) {
			return fmt.Errorf("decided without proof: %+v", f)
		}
		if f.Definitive && !isConfirmedTwice(w.history[target]) {
			return fmt.Errorf("called definitive without proof: %+v", f)
		}
	}
	return nil
}

// isProven reports whether some observation in the streak could confirm the failure. A gap before
// an observation may have hidden a recovery, unless its call is older.
func (w *randomWalk) isProven(streak []probes.Observation, gap int) bool {
	answered, counted := 0, time.Time{}
	for i, o := range streak {
		if o.Cause != probes.CauseHung && (counted.IsZero() || o.Finished.Sub(counted) >= w.rules.Period/2) {
			answered++
			counted = o.Finished
		}
		if i == 0 {
			continue
		}
		switch {
		case o.Cause.Definitive() && !o.Tentative:
			if isConfirmedTwice(streak[:i+1]) {
				return true
			}
		case o.Cause == probes.CauseHung:
			since := streak[0].Started
			if gap > 0 && i == gap && o.Started.After(since) {
				since = o.Started
			}
			if o.Finished.Sub(since) >= w.rules.Hang {
				return true
			}
		default:
			if answered >= w.rules.FailureThreshold {
				return true
			}
		}
	}
	return false
}

// isConfirmedTwice reports whether the latest observations of the streak are all permanent, at
// least two, and far enough apart for the cause of the last.
func isConfirmedTwice(streak []probes.Observation) bool {
	first := len(streak)
	for first > 0 && streak[first-1].Cause.Definitive() && !streak[first-1].Tentative {
		first--
	}
	if len(streak)-first < 2 {
		return false
	}
	last := streak[len(streak)-1]
	return last.Finished.Sub(streak[first].Finished) >= verdict.ConfirmAfter(last.Cause)
}

// A mount that stays broken fails within a bounded time, whatever its causes and their order.
func TestMixturesConverge(t *testing.T) {
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewSource(seed))
	for i := range 300 {
		looks, now := []scriptedProbe{}, 1.0
		for range 60 {
			looks = append(looks, scriptedProbe{at: now, cause: probes.Causes()[random.Intn(len(probes.Causes()))]})
			now += 10
		}
		if _, verdicts := judgeScript(rules, looks[:8]); !remediates(verdicts) {
			t.Fatalf("seed %d, walk %d: no decision after 8 broken looks over 70 s: %v", seed, i, looks[:8])
		}
		if _, verdicts := judgeScript(rules, looks); !verdicts[len(verdicts)-1].Decision.Remediate {
			t.Fatalf("seed %d, walk %d: the decision was taken back although no look was healthy", seed, i)
		}
	}
}
