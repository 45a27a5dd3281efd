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

// Trial is what evictions have shown so far about a backend, or about an owner.
type Trial struct {
	Failures  int       `json:"failures,omitempty"` // failed attempts; a success halves them
	FailedAt  time.Time `json:"failedAt,omitzero"`  // when the latest of them was known
	HealedAt  time.Time `json:"healedAt,omitzero"`  // since when a fresh mount was healthy, not when that was proven
	WellFor   int64     `json:"wellFor,omitempty"`  // for how many seconds it was healthy
	RemovedAt time.Time `json:"removedAt,omitzero"` // of an owner: when the latest of the failed pods was evicted
	Case      string    `json:"case,omitempty"`     // of an owner: the mount that this pod shared with others
	Until     time.Time `json:"until,omitzero"`     // of an owner: when that pod's own grace period is over
}

const (
	maxCooldown      = 10 * time.Minute
	forgetTrialAfter = 30 * time.Minute
)

// recoverableSuffix marks the keys of what is known about causes that a mount may recover from
// (probes.Cause.Recoverable). Such failures say nothing about a dead daemon, which a new mount
// fixes at once. So they have trials of their own, which never delay the eviction of a pod with a
// dead daemon.
const recoverableSuffix = " (recoverable)"

// maxBackendKey bounds the key of a backend, in bytes. Its name may be a source that a tenant has
// chosen.
const maxBackendKey = 80

func (e Entry) backendKey() string { return e.withCauseSuffix(e.backendName()) }

func (e Entry) backendName() string { return abbreviateText(e.Backend, maxBackendKey) }

// ownerKey names the owner. The pod's author may choose the owner's UID, so its namespace is a part
// of the key.
func (e Entry) ownerKey() string { return e.withCauseSuffix(e.ownerName()) }

func (e Entry) ownerName() string { return e.Namespace + "/" + string(e.Owner.UID) }

func (e Entry) withCauseSuffix(name string) string {
	if e.Cause.Recoverable() {
		return name + recoverableSuffix
	}
	return name
}

// learnAftermath records what the end of an eviction says about its backend and its owner.
//
// Only a healthy replacement pod frees the owner's other pods. A replacement that is broken too,
// and an evicted pod that does not end, hold the pods that fail in the same way. If no replacement
// came up at all, every pod of the owner is held, because each further eviction would cost one more
// replica.
func (s State) learnAftermath(e Entry, a controllers.Aftermath, now time.Time) {
	if strings.HasPrefix(e.Backend, string(probes.BackendPod)+"/") {
		defer delete(s.Trials, e.backendKey()) // this backend is gone with its pod
	}
	switch a {
	case controllers.AftermathHealed:
		s.learnHealed(e, now)
	case controllers.AftermathStillBroken:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].withFailure(e.At, now)
		s.learnUnreplaced(e.ownerKey(), e, now)
	case controllers.AftermathStuckCreating:
		s.Trials[e.backendKey()] = s.Trials[e.backendKey()].withFailure(e.At, now)
		s.learnUnreplaced(e.ownerName(), e, now)
	case controllers.AftermathStuckTerminating: // says nothing about the backend
		s.learnUnreplaced(e.ownerKey(), e, now)
	case controllers.AftermathNoSuccessor: // nor does this
		s.learnUnreplaced(e.ownerName(), e, now)
	}
}

// learnHealed frees the owner of what was known before that eviction. If the replacement has proven
// itself, it also ends what other causes have shown about the backend.
func (s State) learnHealed(e Entry, now time.Time) {
	s.Trials[e.backendKey()] = s.Trials[e.backendKey()].withSuccess(e, now)
	if weaker, known := s.Trials[e.backendName()]; known && e.Cause.Recoverable() {
		s.Trials[e.backendName()] = weaker.withSuccess(e, now)
	}
	for _, key := range []string{e.ownerName(), e.ownerKey()} {
		if !e.At.Before(s.Owners[key].RemovedAt) {
			delete(s.Owners, key)
		}
	}
}

// withSuccess dates a success by when it began: it says nothing about a mount that has broken since
// then. A shorter proof replaces a longer one only when that is old.
func (t Trial) withSuccess(e Entry, now time.Time) Trial {
	t.Failures /= 2
	since := now.Add(-boundSeconds(e.WellFor))
	if e.WellFor >= t.WellFor || since.Sub(t.HealedAt) > maxChosenTime {
		t.HealedAt, t.WellFor = laterOf(t.HealedAt, since), e.WellFor
	}
	return t
}

// withFailure returns the trial with one more failure, which may be older than others that are
// known. Evictions from before the first of them failed count as one attempt, because up to
// Storm.Threshold pods may be evicted together.
func (t Trial) withFailure(removed, now time.Time) Trial {
	if t.Failures == 0 || removed.After(t.FailedAt) {
		t.Failures++
	}
	t.FailedAt = laterOf(t.FailedAt, now)
	return t
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// isFailing reports whether the latest that is known of the backend is a failure.
func (t Trial) isFailing() bool { return t.FailedAt.After(t.HealedAt) }

// provesHealthy reports whether a fresh mount was found healthy after that of the pod broke, for as
// long as the pod's own replacement would have to be. Whatever the problem was, it is over.
func (t Trial) provesHealthy(a Ask) bool {
	return !t.isFailing() && t.HealedAt.After(a.Since) && t.WellFor >= a.WellFor
}

// remainingCooldown returns for how long no further pod is tried. Each failure doubles it, up to
// maxCooldown.
func (t Trial) remainingCooldown(s config.Storm, now time.Time) time.Duration {
	if !t.isFailing() {
		return 0
	}
	return t.FailedAt.Add(growDelay(s.Cooldown(), 2, t.Failures, maxCooldown)).Sub(now)
}

func (t Trial) isForgotten(now time.Time) bool { return now.Sub(t.lastResultAt()) > forgetTrialAfter }

func (t Trial) lastResultAt() time.Time { return laterOf(t.FailedAt, t.HealedAt) }

// checkCircuitBreaker refuses when so many mounts of a backend fail together that the backend
// itself must be the cause. Then one pod is evicted as a trial, and the others when its replacement
// is healthy. A cause that the backend may have is treated so from the first pod on.
func (s State) checkCircuitBreaker(a Ask, limits config.Storm, now time.Time) *Refusal {
	trials := s.trialsOf(a.Entry)
	if isProven(trials, a) {
		return nil
	}
	var wait time.Duration
	for _, t := range trials {
		wait = max(wait, t.remainingCooldown(limits, now))
	}
	if wait > 0 {
		return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: the latest pod that was removed got no healthy mount; the next one is tried in %s",
			a.Backend, wait.Round(time.Second)), wait}
	}
	allowed := limits.Threshold
	if a.Failing > limits.Threshold || a.Cause.Recoverable() || trials[0].isFailing() {
		allowed = 1
	}
	unproven := s.countUnproven(a)
	if unproven < allowed {
		return nil
	}
	return &Refusal{controllers.HeldBackendStorm, fmt.Sprintf("%s: %d pods of this node have failed together and %d removed ones have no healthy successor yet; "+
		"the others follow when one has", a.Backend, a.Failing, unproven), inProgressRetry}
}

// trialsOf returns what is known of the backend: first for the entry's own kind of causes. A
// recoverable cause waits for both kinds.
func (s State) trialsOf(e Entry) []Trial {
	trials := []Trial{s.Trials[e.backendKey()]}
	if e.Cause.Recoverable() {
		trials = append(trials, s.Trials[e.backendName()])
	}
	return trials
}

// isProven reports whether a fresh mount was found healthy after the mount broke, by evidence of
// its own kind.
func isProven(trials []Trial, a Ask) bool {
	return trials[0].provesHealthy(a) && !slices.ContainsFunc(trials, Trial.isFailing)
}

// countUnproven counts the evicted pods of the backend of whose replacements nothing is known yet.
// Those that share one mount with the asking pod do not count.
func (s State) countUnproven(a Ask) int {
	n := 0
	for _, e := range s.Entries {
		if e.isPending() && e.Backend == a.Backend && e.mayHold(a) && !e.sharesMount(a.Entry) {
			n++
		}
	}
	return n
}
