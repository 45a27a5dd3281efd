package verdict

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Failure is one mount that has Failed, with the evidence.
type Failure struct {
	Observation probes.Observation // the latest
	Since       time.Time          // when the failure began
	Looks       int                // how many observations in a row were broken
	Confirmed   time.Time          // when there was enough evidence
	Definitive  bool               // the cause is permanent: the kernel never takes it back
}

// Decision is the answer to "must this pod be evicted?". The event, the counter and the log line of
// the eviction are all made from this one value. The zero value evicts nothing.
type Decision struct {
	Remediate bool
	Failures  []Failure // every failed mount that is due; the first is the reason
}

// Reason returns the failure that the decision rests on. ok is false when nothing has failed.
func (d Decision) Reason() (f Failure, ok bool) {
	if len(d.Failures) == 0 {
		return Failure{}, false
	}
	return d.Failures[0], true
}

// Definitive reports whether the reason is permanent: the kernel never takes the failure back.
func (d Decision) Definitive() bool {
	f, _ := d.Reason()
	return f.Definitive
}

// Transition is one mount that changed its Phase, could not be judged for FailureThreshold probes
// in a row, or has another warning than before.
type Transition struct {
	Target probes.Target
	From   Mount
	To     Mount
	Lost   bool // it cannot be judged any more
	Warned bool // it is Healthy, with another Warning than before
}

// Verdict is what one probe of all mounts of a pod means.
type Verdict struct {
	Transitions []Transition
	Decision    Decision
	Failed      bool          // a mount has Failed, whether or not the Decision is to evict the pod now
	Next        time.Duration // in how long to probe again
}

// Step judges one probe of all mounts of a pod. now must not be before the end of an observation.
// Mounts that were not observed are forgotten: a prober answers for every mount that is watched, if
// only with Unknown.
func Step(s State, observations []probes.Observation, r Rules, now time.Time) (State, Verdict) {
	next := make(State, len(observations))
	v := Verdict{Next: r.Period}
	for _, o := range observations {
		from := s[o.Target]
		to := from.applyObservation(o, r)
		next[o.Target] = to
		lost := to.isLongUnknown(r) && !from.isLongUnknown(r)
		warned := to.hasNewWarning(from)
		if from.Phase != to.Phase || lost || warned {
			v.Transitions = append(v.Transitions, Transition{o.Target, from, to, lost, warned})
		}
		v.Failed = v.Failed || to.Phase == Failed
		v.Next = min(v.Next, to.untilNextProbe(r, now))
	}
	v.Decision = makeDecision(next, r, now)
	return next, v
}

// makeDecision collects the failures that have settled. A mount that could not be judged this time
// is no reason to evict: its last answer may be out of date.
func makeDecision(s State, r Rules, now time.Time) Decision {
	due := s.listFailures(func(m Mount) bool { return m.Unseen == 0 && now.Sub(m.FailedAt) >= r.Settle })
	return Decision{Remediate: len(due) > 0, Failures: due}
}

// Failures lists every mount that has Failed, whether or not a pod is to be evicted for it now, in
// the order of a Decision's. It is for reports, not for decisions.
func (s State) Failures() []Failure {
	return s.listFailures(func(Mount) bool { return true })
}

func (s State) listFailures(chosen func(Mount) bool) []Failure {
	var all []Failure
	for _, m := range s {
		if m.Phase == Failed && chosen(m) {
			all = append(all, m.Failure())
		}
	}
	slices.SortFunc(all, compareFailures)
	return all
}

// compareFailures puts permanent failures first, then the oldest, and then orders by name.
func compareFailures(a, b Failure) int {
	if a.Definitive != b.Definitive {
		if a.Definitive {
			return -1
		}
		return 1
	}
	return cmp.Or(a.Since.Compare(b.Since), compareTargets(a.Observation.Target, b.Observation.Target))
}

func compareTargets(a, b probes.Target) int {
	return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(a.Volume, b.Volume), strings.Compare(a.Path, b.Path))
}
