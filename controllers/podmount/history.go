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

// These bound the history of one mount. A node may have thousands of mounts.
const (
	maxTransitions      = 8
	maxTransitionDetail = 160 // bytes
)

// mountHistory is a mount's past, for the status page.
type mountHistory struct {
	since       time.Time                // since when it has been in its present state
	transitions []controllers.Transition // the latest ones, oldest first
}

// mountHistories are those of a pod's mounts. Neither the map nor what it holds is ever changed.
type mountHistories map[probes.Target]mountHistory

// addTransitions returns the histories with the transitions of a probe round that ended now. Mounts
// that are not watched any more are dropped.
func (all mountHistories) addTransitions(s verdict.State, now time.Time) mountHistories {
	if all.matchState(s) { // nearly always
		return all
	}
	next := make(mountHistories, len(s))
	for target, m := range s {
		h := all[target]
		if !h.matchesMount(m) {
			h = h.appendTransition(newTransition(m, now))
		}
		next[target] = h
	}
	return next
}

// matchState reports whether the latest transitions agree with the state of the mounts.
func (all mountHistories) matchState(s verdict.State) bool {
	for target, m := range s {
		if !all[target].matchesMount(m) {
			return false
		}
	}
	return len(s) == len(all)
}

// matchesMount reports whether the latest transition agrees with the state of the mount.
func (h mountHistory) matchesMount(m verdict.Mount) bool {
	if len(h.transitions) == 0 {
		return false
	}
	last := h.transitions[len(h.transitions)-1]
	return last.State == m.Shown() && last.Cause == m.Observation.Cause && last.Warning == m.Observation.Warning
}

func (h mountHistory) appendTransition(t controllers.Transition) mountHistory {
	past := h.transitions[max(0, len(h.transitions)+1-maxTransitions):]
	if n := len(past); n == 0 || past[n-1].State != t.State {
		h.since = t.At
	}
	h.transitions = slices.Concat(past, []controllers.Transition{t})
	return h
}

func newTransition(m verdict.Mount, now time.Time) controllers.Transition {
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
	// A clone, because the text that it is cut from may be long.
	t.Detail = strings.Clone(text.Cut(t.Detail, maxTransitionDetail))
	return t
}
