package status

import (
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Step is the kind of a NextStep. The values are an API.
type Step string

// The steps that may be next.
const (
	StepLook      Step = "Look"      // it is looked at again; nothing is removed for it now
	StepConfirm   Step = "Confirm"   // it is believed Failed when it stays broken
	StepSettle    Step = "Settle"    // it has failed, and its pod is given time in which it may recover
	StepRemediate Step = "Remediate" // its pod is removed as soon as every gate lets it pass
	StepHold      Step = "Hold"      // its pod stays for the reason in Held, and whether it may go is asked again
	StepEnd       Step = "End"       // its pod was removed, and ends
)

// next says what the agent will do next about a mount of a pod.
func next(w controllers.Watched, m verdict.Mount, now time.Time) NextStep {
	outlook := m.Outlook(w.Rules)
	again := func(step Step, text string) NextStep { return NextStep{Step: step, Text: text, At: w.NextLook} }
	switch {
	case w.Removed:
		return NextStep{Step: StepEnd, Text: "the pod was removed and ends"}
	case m.Unseen > 0 || m.Phase == verdict.Unjudged:
		return again(StepLook, "look again; nothing is removed for Unknown")
	case m.Phase == verdict.Suspect:
		return confirm(w, m, outlook)
	case m.Phase != verdict.Failed:
		return again(StepLook, "look again")
	case w.Mode != config.ModeRemediate:
		return NextStep{Step: StepHold, Text: "the pod stays: mode " + string(w.Mode)}
	case w.Held != controllers.HeldNone:
		return NextStep{Step: StepHold, Text: "ask again whether the pod may be removed", At: later(w.AskAgain, now, w.NextLook)}
	case outlook.At.After(now):
		return NextStep{Step: StepSettle, Text: "remove the pod unless the mount recovers", At: outlook.At}
	default:
		return again(StepRemediate, "remove the pod if no gate holds it")
	}
}

func confirm(w controllers.Watched, m verdict.Mount, o verdict.Outlook) NextStep {
	act, at := "remove the pod", o.At
	if w.Mode != config.ModeRemediate {
		act = "report it as failed"
	}
	if at.IsZero() {
		at = w.NextLook
	}
	condition := "if the next look finds it broken"
	switch {
	case m.Observation.Cause == probes.CauseHung:
		condition = "if it does not answer"
	case o.Looks > 1:
		condition = fmt.Sprintf("if the next %d looks find it broken", o.Looks)
	}
	return NextStep{Step: StepConfirm, Text: act + " " + condition, At: at}
}

// later returns at when it lies ahead, else otherwise.
func later(at, now, otherwise time.Time) time.Time {
	if at.After(now) {
		return at
	}
	return otherwise
}
