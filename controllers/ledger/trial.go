package ledger

import (
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// Trial is what removals of a backend's pods have taught so far.
type Trial struct {
	Failures int       `json:"failures,omitempty"` // tries in vain, a success in between takes half of them back
	FailedAt time.Time `json:"failedAt,omitzero"`  // when the latest of them was known
	HealedAt time.Time `json:"healedAt,omitzero"`  // when a successor was last found healthy
}

const (
	maxCooldown   = 10 * time.Minute
	forgetTrialIn = 30 * time.Minute
)

// after returns what is known after one more removal has ended, perhaps before others that are known already. One that says nothing of the backend changes nothing. Those that were
// removed before the first of them failed are one try: as many may have gone by then as Storm.Threshold lets go together.
func (t Trial) after(removed time.Time, a controllers.Aftermath, now time.Time) Trial {
	switch a {
	case controllers.AftermathHealed:
		t.HealedAt = later(t.HealedAt, now)
		t.Failures /= 2
	case controllers.AftermathStillBroken, controllers.AftermathStuckCreating:
		if t.Failures == 0 || removed.After(t.FailedAt) {
			t.Failures++
		}
		t.FailedAt = later(t.FailedAt, now)
	}
	return t
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// failing reports whether the latest that is known of the backend is bad.
func (t Trial) failing() bool { return t.FailedAt.After(t.HealedAt) }

// proves reports whether a fresh mount was found healthy after an older one broke: whatever it was, it is over.
func (t Trial) proves(broken time.Time) bool { return !t.failing() && t.HealedAt.After(broken) }

// cooldown returns for how long no further pod is tried. A backend that comes and goes is given ever more time.
func (t Trial) cooldown(s config.Storm, now time.Time) time.Duration {
	if !t.failing() {
		return 0
	}
	wait := s.Cooldown()
	for range t.Failures - 1 {
		if wait *= 2; wait >= maxCooldown {
			break
		}
	}
	return t.FailedAt.Add(min(wait, maxCooldown)).Sub(now)
}

func (t Trial) forgotten(now time.Time) bool { return now.Sub(t.latest()) > forgetTrialIn }

func (t Trial) latest() time.Time { return later(t.FailedAt, t.HealedAt) }

// storm refuses when so many mounts of a backend fail together that it is the backend's incident: then one pod is removed
// first, and the others when its successor is healthy.
func (s State) storm(a Ask, limits config.Storm, now time.Time) *Refusal {
	t := s.Trials[a.Backend]
	if t.proves(a.Since) {
		return nil
	}
	if wait := t.cooldown(limits, now); wait > 0 {
		return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: the latest pod that was removed got no healthy mount; the next one is tried in %s",
			a.Backend, wait.Round(time.Second)), wait}
	}
	allowed := limits.Threshold
	if a.Failing > limits.Threshold || t.failing() {
		allowed = 1
	}
	unproven := s.unproven(a)
	if unproven < allowed {
		return nil
	}
	return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: %d pods of this node have failed together and %d removed ones have no healthy successor yet; "+
		"the others follow when one has", a.Backend, a.Failing, unproven), busyRetry}
}

// unproven counts the removed pods of the backend of whose successors nothing is known yet. Those that share one mount are one.
func (s State) unproven(a Ask) int {
	n := 0
	for _, e := range s.Entries {
		if e.pending() && e.Backend == a.Backend && !e.sameCase(a.Entry) {
			n++
		}
	}
	return n
}
