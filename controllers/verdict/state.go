package verdict

import (
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Phase is the state of one mount. The zero value is Unjudged.
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

// Mount is what is known of one mount between probes.
type Mount struct {
	Phase       Phase
	Since       time.Time          // Suspect, Failed: when the failure began; a hang begins with its call
	Looks       int                // Suspect, Failed: broken observations in a row
	FailedAt    time.Time          // Failed: when it was confirmed
	Observation probes.Observation // the latest that was not Unknown
	Unseen      int                // Unknown observations in a row, up to the latest
	Blind       string             // why the latest observation was Unknown; "" when it was not

	// It was found Healthy once, and not merely by design, so a failure now is not by design.
	seenBetter bool

	// Broken observations in a row that were answers, not hangs. Those within half a period count
	// as one; lastCounted is when the latest of them was counted.
	answeredProbes int
	lastCounted    time.Time

	// The mount cannot have recovered unnoticed since then, so a hang is measured from here. Unlike
	// Since, it moves forward when the mount could not be judged for a while.
	continuousSince time.Time

	// When the present row of permanent observations began; zero when the latest is not permanent.
	permanentSince time.Time
}

// State is what is known of the mounts of one pod. Step never changes a State that it was given.
type State map[probes.Target]Mount

// Rules say how much evidence is enough. They come from the pod's policy.
type Rules struct {
	FailureThreshold int           // broken observations in a row for a cause that is not permanent
	Hang             time.Duration // how long a failure must have lasted when the latest call hangs
	Settle           time.Duration // from confirmation to the eviction
	Period           time.Duration // between probes
}

// The least time between the two observations that a permanent cause needs. A mount table may be
// read while a mount is being moved. An errno that the kernel never takes back is only confirmed to
// exclude a mistake of the probe.
const (
	ConfirmTableAfter = time.Second
	ConfirmErrnoAfter = 10 * time.Millisecond
)

// ConfirmAfter returns the least time between the two observations that a permanent cause needs.
func ConfirmAfter(c probes.Cause) time.Duration {
	if c == probes.CauseNotMounted {
		return ConfirmTableAfter
	}
	return ConfirmErrnoAfter
}

// minProbes is how many broken observations in a row any cause needs.
const minProbes = 2

// applyObservation returns the state of the mount after one more observation.
func (m Mount) applyObservation(o probes.Observation, r Rules) Mount {
	switch o = m.excuseByDesign(o); o.Health {
	case probes.Healthy:
		return Mount{Phase: Healthy, Observation: o, seenBetter: m.seenBetter || !o.ByDesign}
	case probes.Broken:
		return m.applyBroken(o, r)
	default:
		m.Unseen++
		m.Blind = o.Detail
		return m
	}
}

// excuseByDesign changes a broken observation of what may have been so from the beginning, as long
// as the mount was never seen better. A read-only volume is then Healthy. A canary that nobody has
// ever seen proves nothing, so it is Unknown.
func (m Mount) excuseByDesign(o probes.Observation) probes.Observation {
	if o.Health != probes.Broken || !o.ByDesign || m.seenBetter {
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

// applyBroken returns the state of the mount after one more broken observation.
func (m Mount) applyBroken(o probes.Observation, r Rules) Mount {
	if m.Phase != Suspect && m.Phase != Failed {
		since := chooseLater(o.Started, m.Observation.Finished)
		m = Mount{Phase: Suspect, Since: since, continuousSince: since, seenBetter: m.seenBetter}
	}
	if m.Unseen > 0 {
		// The mount may have recovered in the gap, unless this call began before it.
		m.continuousSince = chooseLater(o.Started, m.continuousSince)
	}
	m.Observation, m.Unseen, m.Blind = o, 0, ""
	m.Looks++
	m.countAnswered(o, r)
	m.permanentSince = computePermanentSince(m.permanentSince, o)
	if m.Phase == Suspect && m.isConfirmed(r) {
		m.Phase, m.FailedAt = Failed, o.Finished
	}
	return m
}

// countAnswered counts an observation that is an answer. Events may trigger probes at any rate, and
// these prove no more than the probes of the periods would.
func (m *Mount) countAnswered(o probes.Observation, r Rules) {
	if o.Cause == probes.CauseHung || m.answeredProbes > 0 && o.Finished.Sub(m.lastCounted) < r.Period/2 {
		return
	}
	m.answeredProbes++
	m.lastCounted = o.Finished
}

// isLongUnknown reports whether the mount could not be judged for long enough to report it.
func (m Mount) isLongUnknown(r Rules) bool { return m.Unseen >= r.FailureThreshold }

// hasNewWarning reports whether the mount has another Warning than before, or none any more. Only a
// Healthy mount has one.
func (m Mount) hasNewWarning(before Mount) bool {
	return m.Phase == Healthy && m.Observation.Warning != before.Observation.Warning
}

// chooseLater returns the later time: the start of a call, or the last answer. A hang whose call
// began before the last healthy answer only counts from that answer on.
func chooseLater(started, answered time.Time) time.Time {
	if answered.After(started) {
		return answered
	}
	return started
}

// computePermanentSince returns when the row of permanent observations that o belongs to began.
func computePermanentSince(since time.Time, o probes.Observation) time.Time {
	switch {
	case !o.Definitive():
		return time.Time{}
	case since.IsZero():
		return o.Finished
	default:
		return since
	}
}

// isConfirmed reports whether the observations in a row are enough for the cause of the latest. A
// row may mix causes: a server that goes away first answers EIO, then nothing. It counts from its
// first observation, whatever the mixture. One observation is never enough, whatever the rules say:
// a hang may have begun long before it was first observed.
func (m Mount) isConfirmed(r Rules) bool {
	o := m.Observation
	switch {
	case m.Looks < minProbes:
		return false
	case o.Definitive():
		return m.isPermanent()
	case o.Cause == probes.CauseHung:
		return o.Finished.Sub(m.continuousSince) >= r.Hang
	default:
		return m.answeredProbes >= r.FailureThreshold
	}
}

// isPermanent reports whether the latest observations agree that the kernel will never take the
// failure back.
func (m Mount) isPermanent() bool {
	o := m.Observation
	return m.Looks >= minProbes && o.Definitive() && o.Finished.Sub(m.permanentSince) >= ConfirmAfter(o.Cause)
}

// Failure returns the evidence that m has failed. It means something only while m is Failed.
func (m Mount) Failure() Failure {
	return Failure{m.Observation, m.Since, m.Looks, m.FailedAt, m.isPermanent()}
}

// untilNextProbe returns in how long the mount should be probed again.
func (m Mount) untilNextProbe(r Rules, now time.Time) time.Duration {
	wait := r.Period
	switch {
	case m.Phase == Failed:
		wait = delayUntil(m.FailedAt.Add(r.Settle), now, wait)
	case m.Phase == Suspect && m.Observation.Definitive():
		// That time may have passed already: the probes of the pod's other mounts can take longer.
		wait = min(wait, max(ConfirmErrnoAfter, m.permanentSince.Add(ConfirmAfter(m.Observation.Cause)).Sub(now)))
	case m.Phase == Suspect && m.Observation.Cause == probes.CauseHung:
		wait = delayUntil(m.continuousSince.Add(r.Hang), now, wait)
	}
	return wait
}

// delayUntil returns the time from now to t where t lies ahead and sooner than limit, else limit.
func delayUntil(t, now time.Time, limit time.Duration) time.Duration {
	if d := t.Sub(now); d > 0 && d < limit {
		return d
	}
	return limit
}
