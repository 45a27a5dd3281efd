package ledger

import (
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// Trial is what removals have taught so far of a backend, or of an owner.
type Trial struct {
	Failures  int       `json:"failures,omitempty"` // tries that failed; a success in between takes half of them back
	RemovedAt time.Time `json:"removedAt,omitzero"` // when the pod of the latest of them was removed
	FailedAt  time.Time `json:"failedAt,omitzero"`  // when the latest of them was known
	HealedAt  time.Time `json:"healedAt,omitzero"`  // when a successor was last found healthy
}

const (
	maxCooldown   = 10 * time.Minute
	forgetTrialIn = 30 * time.Minute
)

// recoverable marks the keys of what is only known of causes that a mount may recover from
// (probes.Cause.Recoverable). Such failures say nothing of a dead daemon, which a new mount cures at once: they have trials of their
// own, so that they never delay its removal.
const recoverable = " (recoverable)"

func (e Entry) backendKey() string { return e.keyed(e.Backend) }

// ownerKey names the owner. Its UID is text that the pod's author may choose, so that it is told with its namespace.
func (e Entry) ownerKey() string { return e.keyed(e.ownedBy()) }

func (e Entry) ownedBy() string { return e.Namespace + "/" + string(e.Owner.UID) }

func (e Entry) keyed(name string) string {
	if e.Cause.Recoverable() {
		return name + recoverable
	}
	return name
}

// learn notes what the end of a removal teaches of its backend and of its owner.
//
// Only a healthy replacement frees the owner's other pods. One that is broken, too, holds those that fail as its predecessor did; none
// at all holds every pod of the owner, since each further removal would cost one more replica.
func (s State) learn(e Entry, a controllers.Aftermath, now time.Time) {
	switch a {
	case controllers.AftermathHealed:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].healed(now)
		delete(s.Owners, e.ownedBy())
		delete(s.Owners, e.ownerKey())
	case controllers.AftermathStillBroken:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].failed(e.At, now)
		s.Owners[e.ownerKey()] = s.Owners[e.ownerKey()].failed(e.At, now)
	case controllers.AftermathStuckCreating:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].failed(e.At, now)
		s.Owners[e.ownedBy()] = s.Owners[e.ownedBy()].failed(e.At, now)
	case controllers.AftermathStuckTerminating, controllers.AftermathNoSuccessor: // no word of the backend
		s.Owners[e.ownedBy()] = s.Owners[e.ownedBy()].failed(e.At, now)
	}
}

func (t Trial) healed(now time.Time) Trial {
	t.HealedAt = later(t.HealedAt, now)
	t.Failures /= 2
	return t
}

// failed returns what is known after one more failure, perhaps before others that are known already. Those that were removed before the
// first of them failed are one try: as many may have gone by then as Storm.Threshold lets go together.
func (t Trial) failed(removed, now time.Time) Trial {
	if t.Failures == 0 || removed.After(t.FailedAt) {
		t.Failures++
	}
	t.RemovedAt, t.FailedAt = later(t.RemovedAt, removed), later(t.FailedAt, now)
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
// first, and the others when its successor is healthy. A cause that the backend may have is such an incident from the first pod on.
func (s State) storm(a Ask, limits config.Storm, now time.Time) *Refusal {
	trials := s.trialsOf(a.Entry)
	if proven(trials, a.Since) {
		return nil
	}
	var wait time.Duration
	for _, t := range trials {
		wait = max(wait, t.cooldown(limits, now))
	}
	if wait > 0 {
		return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: the latest pod that was removed got no healthy mount; the next one is tried in %s",
			a.Backend, wait.Round(time.Second)), wait}
	}
	allowed := limits.Threshold
	if a.Failing > limits.Threshold || a.Cause.Recoverable() || trials[0].failing() {
		allowed = 1
	}
	unproven := s.unproven(a)
	if unproven < allowed {
		return nil
	}
	return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: %d pods of this node have failed together and %d removed ones have no healthy successor yet; "+
		"the others follow when one has", a.Backend, a.Failing, unproven), busyRetry}
}

// trialsOf returns what is known of the backend, first of the entry's own kind of causes. A recoverable cause waits for both kinds.
func (s State) trialsOf(e Entry) []Trial {
	trials := []Trial{s.Trials[e.backendKey()]}
	if e.Cause.Recoverable() {
		trials = append(trials, s.Trials[e.Backend])
	}
	return trials
}

// proven reports whether a fresh mount was found healthy after the mount broke, by evidence of its own kind.
func proven(trials []Trial, broken time.Time) bool {
	return trials[0].proves(broken) && !slices.ContainsFunc(trials, Trial.failing)
}

// unproven counts the removed pods of the backend of whose successors nothing is known yet. Those that share one mount are one.
func (s State) unproven(a Ask) int {
	n := 0
	for _, e := range s.Entries {
		if e.pending() && e.Backend == a.Backend && e.holds(a) && !e.sameCase(a.Entry) {
			n++
		}
	}
	return n
}
