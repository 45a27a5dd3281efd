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
	StepLook      Step = "Look"      // it is probed again; nothing is evicted for it now
	StepConfirm   Step = "Confirm"   // it becomes Failed if it stays broken
	StepSettle    Step = "Settle"    // it has failed, and has time to recover
	StepRemediate Step = "Remediate" // its pod is evicted as soon as no gate holds it
	StepHold      Step = "Hold"      // its pod stays for the reason in Held, and the gates are checked again
	StepEnd       Step = "End"       // its pod was evicted, and terminates
)

// planNextStep says what the agent will do next about a mount of a pod.
func planNextStep(w controllers.Watched, m verdict.Mount, now time.Time) NextStep {
	outlook := m.Outlook(w.Rules)
	again := func(step Step, text string) NextStep { return NextStep{Step: step, Text: text, At: w.NextLook} }
	switch {
	case w.Removed:
		return NextStep{Step: StepEnd, Text: "the pod was removed and ends"}
	case m.Unseen > 0 || m.Phase == verdict.Unjudged:
		return again(StepLook, "look again; nothing is removed for Unknown")
	case m.Phase == verdict.Suspect:
		return planConfirm(w, m, outlook)
	case m.Phase != verdict.Failed:
		return again(StepLook, "look again")
	case w.Mode != config.ModeRemediate:
		return NextStep{Step: StepHold, Text: "the pod stays: mode " + string(w.Mode)}
	case w.Held != controllers.HeldNone:
		return NextStep{Step: StepHold, Text: "ask again whether the pod may be removed", At: chooseFuture(w.AskAgain, now, w.NextLook)}
	case outlook.At.After(now):
		return NextStep{Step: StepSettle, Text: "remove the pod unless the mount recovers", At: outlook.At}
	default:
		return again(StepRemediate, "remove the pod if no gate holds it")
	}
}

// planConfirm says when a suspect mount fails, and what happens then.
func planConfirm(w controllers.Watched, m verdict.Mount, o verdict.Outlook) NextStep {
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

// chooseFuture returns at when it is in the future, else otherwise.
func chooseFuture(at, now, otherwise time.Time) time.Time {
	if at.After(now) {
		return at
	}
	return otherwise
}
