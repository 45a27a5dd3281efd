package verdict

import (
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// Shown returns what people are told of the mount: the name of its phase, or "Unknown" while it is out of sight or was never seen
// healthy or broken.
func (m Mount) Shown() string {
	if m.Unseen > 0 || m.Phase == Unjudged {
		return probes.Unknown.String()
	}
	return m.Phase.String()
}

// Outlook is what a mount that stays as it is still needs before a pod is removed for it. The zero value says that nothing is on
// its way.
type Outlook struct {
	Looks int       // broken looks that a Suspect mount lacks; 0 for a Failed one
	At    time.Time // not before this; zero when only looks count
}

// Outlook is for telling, not for acting: Step decides, by the looks that really come.
func (m Mount) Outlook(r Rules) Outlook {
	o := m.Observation
	switch {
	case m.Phase == Failed:
		return Outlook{At: m.FailedAt.Add(r.Settle)}
	case m.Phase != Suspect:
		return Outlook{}
	case o.Definitive():
		return Outlook{Looks: 1, At: m.definitive.Add(ConfirmAfter(o.Cause))}
	case o.Cause == probes.CauseHung:
		return Outlook{Looks: 1, At: m.steady.Add(r.Hang)}
	default:
		return Outlook{Looks: max(r.FailureThreshold-m.answered, 1)}
	}
}
