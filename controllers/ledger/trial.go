package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/probes"
)

// Trial is what removals have taught so far of a backend, or of an owner.
type Trial struct {
	Failures  int       `json:"failures,omitempty"` // tries that failed; a success in between takes half of them back
	FailedAt  time.Time `json:"failedAt,omitzero"`  // when the latest of them was known
	HealedAt  time.Time `json:"healedAt,omitzero"`  // since when a fresh mount was seen well; not when that was proven
	WellFor   int64     `json:"wellFor,omitempty"`  // for how many seconds it was so
	RemovedAt time.Time `json:"removedAt,omitzero"` // of an owner: when the latest of the failed pods was removed
	Case      string    `json:"case,omitempty"`     // of an owner: the mount that this pod shared with others of its node
	Until     time.Time `json:"until,omitzero"`     // of an owner: when its pod's own grace period is over
}

const (
	maxCooldown   = 10 * time.Minute
	forgetTrialIn = 30 * time.Minute
)

// recoverable marks the keys of what is only known of causes that a mount may recover from
// (probes.Cause.Recoverable). Such failures say nothing of a dead daemon, which a new mount cures at once: they have trials of their
// own, so that they never delay its removal.
const recoverable = " (recoverable)"

// maxKey bounds the key of a backend, in bytes: its name may be a source that a tenant has chosen.
const maxKey = 80

func (e Entry) backendKey() string { return e.keyed(e.servedBy()) }

func (e Entry) servedBy() string { return abbreviate(e.Backend, maxKey) }

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
// Only a healthy replacement frees the owner's other pods. One that is broken, too, and a removed pod that does not end, hold those that
// fail as it did. That nothing came up holds every pod of the owner, since each further removal would cost one more replica.
func (s State) learn(e Entry, a controllers.Aftermath, now time.Time) {
	if strings.HasPrefix(e.Backend, string(probes.BackendPod)+"/") {
		defer delete(s.Trials, e.backendKey()) // it is gone with its pod
	}
	switch a {
	case controllers.AftermathHealed:
		s.learnHealed(e, now)
	case controllers.AftermathStillBroken:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].failed(e.At, now)
		s.learnUnreplaced(e.ownerKey(), e, now)
	case controllers.AftermathStuckCreating:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].failed(e.At, now)
		s.learnUnreplaced(e.ownedBy(), e, now)
	case controllers.AftermathStuckTerminating: // no word of the backend
		s.learnUnreplaced(e.ownerKey(), e, now)
	case controllers.AftermathNoSuccessor: // nor here
		s.learnUnreplaced(e.ownedBy(), e, now)
	}
}

// learnHealed frees the owner of what was known before that removal, and ends what other causes have taught of the backend if the
// replacement has proven itself.
func (s State) learnHealed(e Entry, now time.Time) {
	s.Trials[e.backendKey()] = s.Trials[e.backendKey()].healed(e, now)
	if weaker, known := s.Trials[e.servedBy()]; known && e.Cause.Recoverable() {
		s.Trials[e.servedBy()] = weaker.healed(e, now)
	}
	for _, key := range []string{e.ownedBy(), e.ownerKey()} {
		if !e.At.Before(s.Owners[key].RemovedAt) {
			delete(s.Owners, key)
		}
	}
}

// healed dates a proof by when it began: a mount that has broken since then is none that it says anything of. A shorter proof replaces a
// longer one only when that is old.
func (t Trial) healed(e Entry, now time.Time) Trial {
	t.Failures /= 2
	since := now.Add(-heldFor(e.WellFor))
	if e.WellFor >= t.WellFor || since.Sub(t.HealedAt) > maxHeld {
		t.HealedAt, t.WellFor = later(t.HealedAt, since), e.WellFor
	}
	return t
}

// failed returns what is known after one more failure, perhaps before others that are known already. Those that were removed before the
// first of them failed are one try: as many may have gone by then as Storm.Threshold lets go together.
func (t Trial) failed(removed, now time.Time) Trial {
	if t.Failures == 0 || removed.After(t.FailedAt) {
		t.Failures++
	}
	t.FailedAt = later(t.FailedAt, now)
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

// proves reports whether a fresh mount was found healthy after that of the pod broke, for as long as its own replacement would have to be:
// whatever it was, it is over.
func (t Trial) proves(a Ask) bool {
	return !t.failing() && t.HealedAt.After(a.Since) && t.WellFor >= a.WellFor
}

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
	if proven(trials, a) {
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
		trials = append(trials, s.Trials[e.servedBy()])
	}
	return trials
}

// proven reports whether a fresh mount was found healthy after the mount broke, by evidence of its own kind.
func proven(trials []Trial, a Ask) bool {
	return trials[0].proves(a) && !slices.ContainsFunc(trials, Trial.failing)
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
