package followup

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
)

const (
	// createdSlack is by how much a replacement may seem older than the eviction: its time is cut
	// to the second, and clocks differ.
	createdSlack = 2 * time.Second
	// actDeadline is how long after its reservation an eviction can no longer be done.
	actDeadline = ledger.ActWithin + createdSlack
)

// presence says whether the evicted pod is still in the API.
type presence int

const (
	unknown presence = iota
	present
	gone
)

// removalState is what is known of one eviction.
type removalState struct {
	entry     ledger.Entry
	config    config.Config
	removedAt time.Time
	deadline  time.Time // when a replacement must be healthy
	stuckAt   time.Time // when the evicted pod must be gone

	presence     presence
	removedPod   podSnapshot // the evicted pod; valid once present
	owner        *corev1.ObjectReference
	pods         map[types.UID]podSnapshot // of the same owner, without the evicted one
	siblings     map[types.UID]bool        // pods that existed before the eviction, as far as a watch showed it
	healthySpans map[types.UID]healthySpan // since when each of pods has been healthy
}

// healthySpan is since when a pod has been ready, with healthy mounts.
type healthySpan struct {
	since      time.Time   // by the follower's clock: the one of the pod's node may be wrong
	transition metav1.Time // of the pod's condition: if it changes, the pod was not healthy in between
	restarts   int32       // of its containers: no mount can be probed while none runs
}

// newRemovalState adds the evicted pod's own grace period to the deadline, because its replacement
// may not come before its end.
func newRemovalState(e ledger.Entry, removedAt time.Time, cfg config.Config) removalState {
	grace := time.Duration(e.Grace) * time.Second
	t := removalState{
		entry: e, config: cfg, removedAt: removedAt, pods: map[types.UID]podSnapshot{}, siblings: map[types.UID]bool{}, healthySpans: map[types.UID]healthySpan{},
	}
	t.deadline = removedAt.Add(grace + time.Duration(cfg.FollowUpSeconds)*time.Second)
	t.stuckAt = removedAt.Add(grace + controllers.StuckAfter)
	if t.deadline.Before(t.stuckAt) {
		t.stuckAt = t.deadline
	}
	return t
}

// observePod records a pod as it is now. It ignores nil, and a pod of another owner.
func (t *removalState) observePod(pod *corev1.Pod, now time.Time) {
	if pod == nil || pod.UID != t.entry.PodUID && ledger.OwnerOf(pod).UID != t.entry.Owner.UID {
		return
	}
	s := snapshotPod(pod, t.config)
	if t.owner == nil {
		t.owner = s.owner
	}
	switch {
	case pod.UID != t.entry.PodUID:
		t.pods[pod.UID] = s
		t.updateHealthySince(s, now)
	case t.presence != gone: // a watch may begin with an older state
		t.presence, t.removedPod = present, s
	}
}

// updateHealthySince records since when the pod has been healthy, or that it is not.
func (t *removalState) updateHealthySince(s podSnapshot, now time.Time) {
	switch before, known := t.healthySpans[s.ref.UID]; {
	case s.mountsCondition == nil || s.mountsCondition.Status != corev1.ConditionTrue || s.readySince.IsZero():
		delete(t.healthySpans, s.ref.UID)
	case !known || !before.transition.Equal(&s.mountsCondition.LastTransitionTime) || before.restarts != s.restarts:
		t.healthySpans[s.ref.UID] = healthySpan{now, s.mountsCondition.LastTransitionTime, s.restarts}
	}
}

// markSibling tells siblings from a replacement that seems as old, because times are cut to the
// second. A pod is a sibling if an ordered watch, which started before the eviction, shows it first
// as changed, or as created while the evicted pod was not terminating yet. Such a watch keeps the
// order of the changes.
func (t *removalState) markSibling(pod types.UID, made bool) {
	if _, known := t.pods[pod]; !known && pod != t.entry.PodUID && (!made || t.presence == present && !t.removedPod.terminating) {
		t.siblings[pod] = true
	}
}

// discardPod forgets a pod that is not in the API any more.
func (t *removalState) discardPod(pod types.UID) {
	delete(t.pods, pod)
	delete(t.healthySpans, pod)
}

// followUpResult is how an eviction ended. The zero value means that it has not ended.
type followUpResult struct {
	aftermath   controllers.Aftermath
	replacement *podSnapshot // nil if there is none
	at          time.Time    // when the replacement became healthy or broken, or now
}

// isInconclusive reports whether the result is that no replacement was seen to be healthy or
// broken.
func (f followUpResult) isInconclusive() bool {
	return f.aftermath != controllers.AftermathPending && f.aftermath != controllers.AftermathHealed && f.aftermath != controllers.AftermathStillBroken
}

// judgeReplacements must only be called when all present pods were seen: at the deadline, not to
// see a replacement means that there is none.
func (t *removalState) judgeReplacements(now time.Time) followUpResult {
	best, h, since := t.bestReplacement(now)
	f := followUpResult{replacement: best, at: t.clampTime(since, now)}
	switch {
	case h == healthy:
		f.aftermath = controllers.AftermathHealed
	case h == broken:
		f.aftermath = controllers.AftermathStillBroken
	case h == proving || now.Before(t.deadline):
		return followUpResult{}
	case t.presence == present:
		f.aftermath = controllers.AftermathStuckTerminating
	case best != nil:
		f.aftermath = controllers.AftermathStuckCreating
	default:
		f.aftermath = controllers.AftermathNoSuccessor
	}
	return f
}

// clampTime returns a time of another clock, or now if it is impossible.
func (t *removalState) clampTime(at, now time.Time) time.Time {
	if at.Before(t.removedAt) || at.After(now) {
		return now
	}
	return at
}

// bestReplacement returns the replacement that says the most: a healthy one, or else one that may
// become so, or else a broken one; among equals, the oldest.
func (t *removalState) bestReplacement(now time.Time) (best *podSnapshot, h health, since time.Time) {
	for _, s := range slices.SortedFunc(maps.Values(t.pods), compareAge) {
		if !t.isReplacement(s) {
			continue
		}
		if was, at := t.judgeHealth(s, now); best == nil || was > h {
			best, h, since = &s, was, at
		}
	}
	return best, h, since
}

// judgeHealth also returns since when; the zero time if the status does not say. If the entry asks
// for a proof, the pod must have been healthy for as long.
func (t *removalState) judgeHealth(s podSnapshot, now time.Time) (h health, since time.Time) {
	if h, since = s.assessHealth(now); h != healthy {
		return h, since
	}
	switch at, up := t.provenAt(s); {
	case !up:
		return unclear, since
	case now.Before(at):
		return proving, since
	default:
		return healthy, since
	}
}

// provenAt returns from when on a pod with healthy mounts counts as healthy, if it stays so. It
// reports false while the pod is not up.
func (t *removalState) provenAt(s podSnapshot) (at time.Time, up bool) {
	proof := time.Duration(t.entry.WellFor) * time.Second
	switch {
	case s.phase == corev1.PodSucceeded || proof == 0:
		return time.Time{}, true
	case s.mountsCondition != nil:
		w, known := t.healthySpans[s.ref.UID]
		return w.since.Add(proof), known
	default:
		return s.readySince.Add(s.maxSilence + proof), !s.readySince.IsZero()
	}
}

// isReplacement tells a replacement from a sibling that existed before, and from a pod that is
// being replaced itself.
func (t *removalState) isReplacement(s podSnapshot) bool {
	return !s.terminating && !t.siblings[s.ref.UID] && !s.created.Before(t.entry.At.Add(-createdSlack))
}

func compareAge(a, b podSnapshot) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.ref.Name, b.ref.Name))
}

// nextChangeAt returns when time alone may change the result of judgeReplacements; the zero time if
// it never does.
func (t *removalState) nextChangeAt(now time.Time) (at time.Time) {
	sooner := func(due time.Time) {
		if due.After(now) && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	sooner(t.deadline)
	for _, s := range t.pods {
		if !t.isReplacement(s) {
			continue
		}
		if s.mountsCondition == nil && !s.readySince.IsZero() {
			sooner(s.readySince.Add(s.maxSilence))
		}
		if due, up := t.provenAt(s); up {
			sooner(due)
		}
	}
	return at
}
