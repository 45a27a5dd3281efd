package verdict

import (
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Phase is what is believed of one mount. The zero value is Unjudged.
type Phase uint8

// The phases of a mount.
const (
	Unjudged Phase = iota // never seen healthy or broken
	Healthy
	Suspect // broken, not yet confirmed
	Failed  // broken, confirmed
)

// String returns the phase's name as it stands in logs, metrics and the status page.
func (p Phase) String() string {
	switch p {
	case Healthy:
		return "Healthy"
	case Suspect:
		return "Suspect"
	case Failed:
		return "Failed"
	default:
		return "Unjudged"
	}
}

// Mount is what is remembered of one mount between looks.
type Mount struct {
	Phase       Phase
	Since       time.Time          // Suspect, Failed: since when every look was broken; a hang began with its question
	Looks       int                // Suspect, Failed: broken looks in a row
	FailedAt    time.Time          // Failed: when it was confirmed
	Observation probes.Observation // the latest that was not Unknown
	Unseen      int                // looks in a row that were Unknown
	Blind       string             // why the latest look was Unknown; "" when it was not

	better     bool      // it was seen Healthy once: what is broken now is not so by design
	answered   int       // broken looks in a row that were answered, that is, did not hang; those close together count as one
	counted    time.Time // when the latest of them was counted
	steady     time.Time // since when no look and no gap between looks could have hidden a recovery
	definitive time.Time // when the present row of definitive looks began; zero when there is none
}

// State is what is remembered of one pod. Step never changes a State that it was given.
type State map[probes.Target]Mount

// Rules say how much evidence is enough. They come from the pod's policy.
type Rules struct {
	FailureThreshold int           // broken looks in a row for a cause that is not definitive
	Hang             time.Duration // for how long every look must have been broken when the latest has no answer
	Settle           time.Duration // from confirmation to the act
	Period           time.Duration // between looks
}

// The least time between the two looks that a definitive cause needs. A mount table may be read while a mount is being
// moved; an errno that the kernel never takes back needs no more than to be no slip of the look.
const (
	ConfirmTableAfter = time.Second
	ConfirmErrnoAfter = 10 * time.Millisecond
)

// ConfirmAfter returns the least time between the two looks that a definitive cause needs.
func ConfirmAfter(c probes.Cause) time.Duration {
	if c == probes.CauseNotMounted {
		return ConfirmTableAfter
	}
	return ConfirmErrnoAfter
}

// minLooks is how many broken looks in a row any cause needs.
const minLooks = 2

// observe returns what is believed of m after one more look.
func (m Mount) observe(o probes.Observation, r Rules) Mount {
	switch o = m.admit(o); o.Health {
	case probes.Healthy:
		return Mount{Phase: Healthy, Observation: o, better: m.better || !o.ByDesign}
	case probes.Broken:
		return m.broken(o, r)
	default:
		m.Unseen++
		m.Blind = o.Detail
		return m
	}
}

// admit takes back what may have been so from the beginning, as long as the mount was never seen better: a volume that is
// read-only answers well, while a canary that nobody has ever seen proves nothing.
func (m Mount) admit(o probes.Observation) probes.Observation {
	if o.Health != probes.Broken || !o.ByDesign || m.better {
		return o
	}
	if o.Cause == probes.CauseReadOnly {
		o.Health = probes.Healthy
	} else {
		o.Health, o.Detail = probes.Unknown, "not seen good since the agent began to watch it: "+o.Detail
	}
	o.Cause = probes.CauseNone
	return o
}

func (m Mount) broken(o probes.Observation, r Rules) Mount {
	if m.Phase != Suspect && m.Phase != Failed {
		since := later(o.Started, m.Observation.Finished)
		m = Mount{Phase: Suspect, Since: since, steady: since, better: m.better}
	}
	if m.Unseen > 0 {
		m.steady = later(o.Started, m.steady) // unless the question is older than the gap, the mount may have recovered in it
	}
	m.Observation, m.Unseen, m.Blind = o, 0, ""
	m.Looks++
	m.count(o, r)
	m.definitive = definitiveSince(m.definitive, o)
	if m.Phase == Suspect && m.confirmed(r) {
		m.Phase, m.FailedAt = Failed, o.Finished
	}
	return m
}

// count counts an answered look. An event may call for looks at any rate, which proves no more than those of the
// periods would.
func (m *Mount) count(o probes.Observation, r Rules) {
	if o.Cause == probes.CauseHung || m.answered > 0 && o.Finished.Sub(m.counted) < r.Period/2 {
		return
	}
	m.answered++
	m.counted = o.Finished
}

// blind reports whether the mount has been out of sight for long enough to tell people.
func (m Mount) blind(r Rules) bool { return m.Unseen >= r.FailureThreshold }

// warned reports whether a look has found another Warning than the one before, be it none. Only a Healthy mount has one.
func (m Mount) warned(before Mount) bool {
	return m.Phase == Healthy && m.Observation.Warning != before.Observation.Warning
}

// later keeps a hang whose question is older than the last healthy answer from counting the time before that answer.
func later(started, answered time.Time) time.Time {
	if answered.After(started) {
		return answered
	}
	return started
}

func definitiveSince(since time.Time, o probes.Observation) time.Time {
	switch {
	case !o.Definitive():
		return time.Time{}
	case since.IsZero():
		return o.Finished
	default:
		return since
	}
}

// confirmed says whether the looks in a row are enough for the cause of the latest. A row may mix causes (a
// server that goes away answers EIO, then nothing): whatever the mixture, it counts from its first look. One look
// alone is never enough, whatever the rules say: a hang may be older than the first look at it.
func (m Mount) confirmed(r Rules) bool {
	o := m.Observation
	switch {
	case m.Looks < minLooks:
		return false
	case o.Definitive():
		return m.isDefinitive()
	case o.Cause == probes.CauseHung:
		return o.Finished.Sub(m.steady) >= r.Hang
	default:
		return m.answered >= r.FailureThreshold
	}
}

// isDefinitive says whether the latest looks agree that the kernel will never take the failure back.
func (m Mount) isDefinitive() bool {
	o := m.Observation
	return m.Looks >= minLooks && o.Definitive() && o.Finished.Sub(m.definitive) >= ConfirmAfter(o.Cause)
}

// Failure returns the evidence that m has failed. It means something only while m is Failed.
func (m Mount) Failure() Failure {
	return Failure{m.Observation, m.Since, m.Looks, m.FailedAt, m.isDefinitive()}
}

// next returns in how long the mount should be looked at again.
func (m Mount) next(r Rules, now time.Time) time.Duration {
	wait := r.Period
	switch {
	case m.Phase == Failed:
		wait = until(m.FailedAt.Add(r.Settle), now, wait)
	case m.Phase == Suspect && m.Observation.Definitive():
		// That time may be over already: the looks at other mounts of the pod can take longer.
		wait = min(wait, max(ConfirmErrnoAfter, m.definitive.Add(ConfirmAfter(m.Observation.Cause)).Sub(now)))
	case m.Phase == Suspect && m.Observation.Cause == probes.CauseHung:
		wait = until(m.steady.Add(r.Hang), now, wait)
	}
	return wait
}

// until returns the time from now to t where t lies ahead and sooner than limit, else limit.
func until(t, now time.Time, limit time.Duration) time.Duration {
	if d := t.Sub(now); d > 0 && d < limit {
		return d
	}
	return limit
}
