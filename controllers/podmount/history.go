package podmount

import (
	"slices"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// The bounds of what is remembered of one mount: a node may have thousands, and the agent is small.
const (
	maxTransitions = 8
	maxDetail      = 160 // bytes
)

// history is what people are told of a mount's past.
type history struct {
	since       time.Time                // since when it has been in the state that it is in
	transitions []controllers.Transition // the last ones, the oldest first
}

// histories are those of a pod's mounts. Neither the map nor what is in it is ever changed.
type histories map[probes.Target]history

// after returns the histories after a round of looks that ended now. Mounts that are not watched any more are forgotten.
func (all histories) after(s verdict.State, now time.Time) histories {
	if all.tell(s) { // nearly always
		return all
	}
	next := make(histories, len(s))
	for target, m := range s {
		h := all[target]
		if !h.tells(m) {
			h = h.with(transition(m, now))
		}
		next[target] = h
	}
	return next
}

// tell reports whether the latest transitions say what is believed of the mounts.
func (all histories) tell(s verdict.State) bool {
	for target, m := range s {
		if !all[target].tells(m) {
			return false
		}
	}
	return len(s) == len(all)
}

// tells reports whether the latest transition says what is believed of the mount.
func (h history) tells(m verdict.Mount) bool {
	if len(h.transitions) == 0 {
		return false
	}
	last := h.transitions[len(h.transitions)-1]
	return last.State == m.Shown() && last.Cause == m.Observation.Cause && last.Warning == m.Observation.Warning
}

func (h history) with(t controllers.Transition) history {
	past := h.transitions[max(0, len(h.transitions)+1-maxTransitions):]
	if n := len(past); n == 0 || past[n-1].State != t.State {
		h.since = t.At
	}
	h.transitions = slices.Concat(past, []controllers.Transition{t})
	return h
}

func transition(m verdict.Mount, now time.Time) controllers.Transition {
	o := m.Observation
	t := controllers.Transition{At: now, State: m.Shown(), Cause: o.Cause, Warning: o.Warning}
	switch {
	case m.Unseen > 0:
		t.Detail = m.Blind
	case o.Cause != probes.CauseNone:
		t.Detail = verdict.Finding(o)
	default:
		t.Detail = o.Detail
	}
	t.Detail = strings.Clone(text.Cut(t.Detail, maxDetail)) // what it is cut from may be long
	return t
}
