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
	// earlier is by how much a successor may seem older than the removal: its time is cut to the second, and clocks differ.
	earlier = 2 * time.Second
	// lastCall is when a removal that was reserved and not done is not going to be done any more.
	lastCall = ledger.ActWithin + earlier
)

// presence says whether the removed pod is still in the API.
type presence int

const (
	unknown presence = iota
	present
	gone
)

// trail is what is known of one removal.
type trail struct {
	entry     ledger.Entry
	config    config.Config
	removedAt time.Time
	deadline  time.Time // when a successor must be healthy
	stuckAt   time.Time // when the removed pod must be gone

	presence presence
	removed  sight // the removed pod; valid once present
	owner    *corev1.ObjectReference
	pods     map[types.UID]sight // of the same owner, the removed one left out
	siblings map[types.UID]bool  // those that were there before the removal, as far as a watch has told
	well     map[types.UID]well  // since when each of the pods has been seen well
}

// well is since when a pod has been seen up, with healthy mounts.
type well struct {
	since  time.Time   // by the follower's own clock: the one of the pod's node may be wrong
	told   metav1.Time // by the pod's condition: another time means that it was not well in between
	starts int32       // of its containers: nobody sees a mount while none runs
}

// newTrail allows the removed pod its own grace period on top, in which it may well be and its successor not yet.
func newTrail(e ledger.Entry, removedAt time.Time, cfg config.Config) trail {
	grace := time.Duration(e.Grace) * time.Second
	t := trail{
		entry: e, config: cfg, removedAt: removedAt, pods: map[types.UID]sight{}, siblings: map[types.UID]bool{}, well: map[types.UID]well{},
	}
	t.deadline = removedAt.Add(grace + time.Duration(cfg.FollowUpSeconds)*time.Second)
	t.stuckAt = removedAt.Add(grace + controllers.StuckAfter)
	if t.deadline.Before(t.stuckAt) {
		t.stuckAt = t.deadline
	}
	return t
}

// see takes a pod in as it is now. One that is nil, or of another owner, is none of the trail's.
func (t *trail) see(pod *corev1.Pod, now time.Time) {
	if pod == nil || pod.UID != t.entry.PodUID && ledger.OwnerOf(pod).UID != t.entry.Owner.UID {
		return
	}
	s := look(pod, t.config)
	if t.owner == nil {
		t.owner = s.owner
	}
	switch {
	case pod.UID != t.entry.PodUID:
		t.pods[pod.UID] = s
		t.noteWell(s, now)
	case t.presence != gone: // a watch may begin with what was
		t.presence, t.removed = present, s
	}
}

func (t *trail) noteWell(s sight, now time.Time) {
	switch before, known := t.well[s.ref.UID]; {
	case s.mounts == nil || s.mounts.Status != corev1.ConditionTrue || s.ready.IsZero():
		delete(t.well, s.ref.UID)
	case !known || !before.told.Equal(&s.mounts.LastTransitionTime) || before.starts != s.starts:
		t.well[s.ref.UID] = well{now, s.mounts.LastTransitionTime, s.starts}
	}
}

// meet tells a sibling from a successor that seems as old, since times are cut to the second: one that a watch tells of as it goes on from before
// the removal, and as changed only, or as made while the removed pod was not ending yet. Such a watch is in the order of the changes.
func (t *trail) meet(pod types.UID, made bool) {
	if _, known := t.pods[pod]; !known && pod != t.entry.PodUID && (!made || t.presence == present && !t.removed.ending) {
		t.siblings[pod] = true
	}
}

// lose forgets a pod that is not in the API any more.
func (t *trail) lose(pod types.UID) {
	delete(t.pods, pod)
	delete(t.well, pod)
}

// finding is how a removal ended. Its zero value says that it has not.
type finding struct {
	aftermath controllers.Aftermath
	successor *sight    // nil when there is none
	at        time.Time // when the successor became healthy or broken, or now
}

// isOfNothing reports whether the finding is that no successor was seen to be healthy or broken.
func (f finding) isOfNothing() bool {
	return f.aftermath != controllers.AftermathPending && f.aftermath != controllers.AftermathHealed && f.aftermath != controllers.AftermathStillBroken
}

// judge must only be asked while all pods are in sight: at the deadline, not to see a successor means that there is none.
func (t *trail) judge(now time.Time) finding {
	best, h, since := t.best(now)
	f := finding{successor: best, at: t.within(since, now)}
	switch {
	case h == healthy:
		f.aftermath = controllers.AftermathHealed
	case h == broken:
		f.aftermath = controllers.AftermathStillBroken
	case h == proving || now.Before(t.deadline):
		return finding{}
	case t.presence == present:
		f.aftermath = controllers.AftermathStuckTerminating
	case best != nil:
		f.aftermath = controllers.AftermathStuckCreating
	default:
		f.aftermath = controllers.AftermathNoSuccessor
	}
	return f
}

// within is a time that another clock told, unless it makes no sense.
func (t *trail) within(at, now time.Time) time.Time {
	if at.Before(t.removedAt) || at.After(now) {
		return now
	}
	return at
}

// best returns the successor that says the most: a healthy one, or else one that may be found to be so, or else a broken one, and of
// equals the oldest.
func (t *trail) best(now time.Time) (best *sight, h health, since time.Time) {
	for _, s := range slices.SortedFunc(maps.Values(t.pods), olderFirst) {
		if !t.succeeds(s) {
			continue
		}
		if was, at := t.health(s, now); best == nil || was > h {
			best, h, since = &s, was, at
		}
	}
	return best, h, since
}

// health also returns since when, which is the zero time when the status does not tell. A removal that asks for proof is not told healed
// before the pod has been well for as long.
func (t *trail) health(s sight, now time.Time) (h health, since time.Time) {
	if h, since = s.health(now); h != healthy {
		return h, since
	}
	switch at, up := t.proven(s); {
	case !up:
		return unclear, since
	case now.Before(at):
		return proving, since
	default:
		return healthy, since
	}
}

// proven returns from when on a pod counts as healthy whose mounts are, if it stays so. It does not while the pod is not up.
func (t *trail) proven(s sight) (at time.Time, up bool) {
	proof := time.Duration(t.entry.WellFor) * time.Second
	switch {
	case s.phase == corev1.PodSucceeded || proof == 0:
		return time.Time{}, true
	case s.mounts != nil:
		w, known := t.well[s.ref.UID]
		return w.since.Add(proof), known
	default:
		return s.ready.Add(s.silent + proof), !s.ready.IsZero()
	}
}

// succeeds tells a successor from a sibling that was there before, and from one that is being replaced itself.
func (t *trail) succeeds(s sight) bool {
	return !s.ending && !t.siblings[s.ref.UID] && !s.created.Before(t.entry.At.Add(-earlier))
}

func olderFirst(a, b sight) int {
	return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.ref.Name, b.ref.Name))
}

// next returns when time alone may change what judge says, if nothing else does; the zero time when it never does.
func (t *trail) next(now time.Time) (at time.Time) {
	sooner := func(due time.Time) {
		if due.After(now) && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	sooner(t.deadline)
	for _, s := range t.pods {
		if !t.succeeds(s) {
			continue
		}
		if s.mounts == nil && !s.ready.IsZero() {
			sooner(s.ready.Add(s.silent))
		}
		if due, up := t.proven(s); up {
			sooner(due)
		}
	}
	return at
}
