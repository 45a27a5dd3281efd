package verdict

import (
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Shown returns the state of the mount for the status page: the name of its phase, or "Unknown"
// while its latest observation is Unknown or it was never seen healthy or broken.
func (m Mount) Shown() string {
	if m.Unseen > 0 || m.Phase == Unjudged {
		return probes.Unknown.String()
	}
	return m.Phase.String()
}

// Outlook says what evidence is missing before a pod may be evicted because of a mount, if the
// mount stays as it is. The zero value says that there is no failure.
type Outlook struct {
	Looks int       // broken observations that a Suspect mount lacks; 0 for a Failed one
	At    time.Time // not before this; zero when only the number of probes counts
}

// Outlook is for display only. Step decides, by the observations that are made.
func (m Mount) Outlook(r Rules) Outlook {
	o := m.Observation
	switch {
	case m.Phase == Failed:
		return Outlook{At: m.FailedAt.Add(r.Settle)}
	case m.Phase != Suspect:
		return Outlook{}
	case o.Definitive():
		return Outlook{Looks: 1, At: m.permanentSince.Add(ConfirmAfter(o.Cause))}
	case o.Cause == probes.CauseHung:
		return Outlook{Looks: 1, At: m.continuousSince.Add(r.Hang)}
	default:
		return Outlook{Looks: max(r.FailureThreshold-m.answeredProbes, 1)}
	}
}
