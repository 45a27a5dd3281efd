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

	answered   int       // broken looks in a row that were answered, that is, did not hang
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

// ConfirmAfter is the least time between the two looks that a definitive cause needs.
const ConfirmAfter = time.Second

// minLooks is how many broken looks in a row any cause needs.
const minLooks = 2

// observe returns what is believed of m after one more look.
func (m Mount) observe(o probes.Observation, r Rules) Mount {
	switch o.Health {
	case probes.Healthy:
		return Mount{Phase: Healthy, Observation: o}
	case probes.Broken:
		return m.broken(o, r)
	default:
		m.Unseen++
		m.Blind = o.Detail
		return m
	}
}

func (m Mount) broken(o probes.Observation, r Rules) Mount {
	if m.Phase != Suspect && m.Phase != Failed {
		m = Mount{Phase: Suspect, Since: later(o.Started, m.Observation.Finished)}
	}
	m.Observation, m.Unseen, m.Blind = o, 0, ""
	m.Looks++
	if o.Cause != probes.CauseHung {
		m.answered++
	}
	m.definitive = definitiveSince(m.definitive, o)
	if m.Phase == Suspect && m.confirmed(r) {
		m.Phase, m.FailedAt = Failed, o.Finished
	}
	return m
}

// blind reports whether the mount has been out of sight for long enough to tell people.
func (m Mount) blind(r Rules) bool { return m.Unseen >= r.FailureThreshold }

// later keeps a hang whose question is older than the last healthy answer from counting the time before that answer.
func later(started, answered time.Time) time.Time {
	if answered.After(started) {
		return answered
	}
	return started
}

func definitiveSince(since time.Time, o probes.Observation) time.Time {
	switch {
	case !o.Cause.Definitive():
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
	case o.Cause.Definitive():
		return m.isDefinitive()
	case o.Cause == probes.CauseHung:
		return o.Finished.Sub(m.Since) >= r.Hang
	default:
		return m.answered >= r.FailureThreshold
	}
}

// isDefinitive says whether the latest looks agree that the kernel will never take the failure back.
func (m Mount) isDefinitive() bool {
	return m.Observation.Cause.Definitive() && m.Observation.Finished.Sub(m.definitive) >= ConfirmAfter
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
	case m.Phase == Suspect && m.Observation.Cause.Definitive():
		wait = until(m.definitive.Add(ConfirmAfter), now, wait)
	case m.Phase == Suspect && m.Observation.Cause == probes.CauseHung:
		wait = until(m.Since.Add(r.Hang), now, wait)
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
