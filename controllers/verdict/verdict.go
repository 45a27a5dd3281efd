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
	Since       time.Time          // since when every look was broken
	Looks       int                // how many looks in a row were broken
	Confirmed   time.Time          // when it was believed
	Definitive  bool               // the latest looks agree on a cause that the kernel never takes back
}

// Decision is the answer to "shall this pod be removed?". The one value feeds the event, the counter and the
// log line of the removal. Its zero value removes nothing.
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

// Definitive reports whether the decision rests on a cause that the kernel never takes back.
func (d Decision) Definitive() bool {
	f, _ := d.Reason()
	return f.Definitive
}

// Transition is one mount that changed its Phase, whose looks have been Unknown for FailureThreshold times, or around which
// something else is wrong than was before.
type Transition struct {
	Target probes.Target
	From   Mount
	To     Mount
	Lost   bool // it went out of sight
	Warned bool // it is Healthy, with another Warning than before
}

// Verdict is what one round of looks at a pod means.
type Verdict struct {
	Transitions []Transition
	Decision    Decision
	Failed      bool          // a mount has Failed, whether or not the pod is to be removed for it now
	Next        time.Duration // when to look again
}

// Step judges one round of looks. now must not lie before the observations. Mounts that were not observed are
// forgotten: a prober answers for every mount that is watched, if only with Unknown.
func Step(s State, observations []probes.Observation, r Rules, now time.Time) (State, Verdict) {
	next := make(State, len(observations))
	v := Verdict{Next: r.Period}
	for _, o := range observations {
		from := s[o.Target]
		to := from.observe(o, r)
		next[o.Target] = to
		lost := to.blind(r) && !from.blind(r)
		warned := to.warned(from)
		if from.Phase != to.Phase || lost || warned {
			v.Transitions = append(v.Transitions, Transition{o.Target, from, to, lost, warned})
		}
		v.Failed = v.Failed || to.Phase == Failed
		v.Next = min(v.Next, to.next(r, now))
	}
	v.Decision = decide(next, r, now)
	return next, v
}

// decide collects the failures that have settled. A mount that could not be looked at this time is no reason to
// act: its last answer may be out of date.
func decide(s State, r Rules, now time.Time) Decision {
	due := s.failures(func(m Mount) bool { return m.Unseen == 0 && now.Sub(m.FailedAt) >= r.Settle })
	return Decision{Remediate: len(due) > 0, Failures: due}
}

// Failures lists every mount that has Failed, whether or not a pod is to be removed for it now, in the order of a Decision's. It is
// for telling, not for acting.
func (s State) Failures() []Failure {
	return s.failures(func(Mount) bool { return true })
}

func (s State) failures(chosen func(Mount) bool) []Failure {
	var all []Failure
	for _, m := range s {
		if m.Phase == Failed && chosen(m) {
			all = append(all, m.Failure())
		}
	}
	slices.SortFunc(all, byWeight)
	return all
}

// byWeight puts definitive causes first, then the oldest failure, then the order of names.
func byWeight(a, b Failure) int {
	if a.Definitive != b.Definitive {
		if a.Definitive {
			return -1
		}
		return 1
	}
	return cmp.Or(a.Since.Compare(b.Since), byTarget(a.Observation.Target, b.Observation.Target))
}

func byTarget(a, b probes.Target) int {
	return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(a.Volume, b.Volume), strings.Compare(a.Path, b.Path))
}
