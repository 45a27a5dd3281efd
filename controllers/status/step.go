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
		return again(StepLook, "looked at again; nothing is removed for what cannot be judged")
	case m.Phase == verdict.Suspect:
		return confirm(w, m, outlook)
	case m.Phase != verdict.Failed:
		return again(StepLook, "looked at again")
	case w.Held != controllers.HeldNone:
		return NextStep{Step: StepHold, Text: hold(w), At: later(w.AskAgain, now, w.NextLook)}
	case outlook.At.After(now):
		return NextStep{Step: StepSettle, Text: "the pod is removed unless the mount recovers", At: outlook.At}
	default:
		return again(StepRemediate, "the pod is removed if nothing speaks against it")
	}
}

func confirm(w controllers.Watched, m verdict.Mount, o verdict.Outlook) NextStep {
	then := "; then the pod is removed"
	if w.Mode != config.ModeRemediate {
		then = "; it is told, and the pod stays"
	}
	step := NextStep{Step: StepConfirm, At: o.At}
	switch {
	case m.Observation.Cause == probes.CauseHung:
		step.Text = "failed if it does not answer" + then
	case o.Looks == 1:
		step.Text = "failed if the next look finds it broken" + then
	default:
		step.Text = fmt.Sprintf("failed if the next %d looks find it broken", o.Looks) + then
	}
	if step.At.IsZero() {
		step.At = w.NextLook
	}
	return step
}

// hold tells what is never asked for from what is asked for again.
func hold(w controllers.Watched) string {
	if w.Mode != config.ModeRemediate {
		return "told, and the pod stays"
	}
	return "asked again whether the pod may be removed"
}

// later returns at when it lies ahead, else otherwise.
func later(at, now, otherwise time.Time) time.Time {
	if at.After(now) {
		return at
	}
	return otherwise
}
