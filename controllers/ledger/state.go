package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// State is the content of the ledger.
type State struct {
	Entries []Entry          `json:"entries,omitempty"`
	Trials  map[string]Trial `json:"trials,omitempty"` // of backends, by Entry.backendKey
	Owners  map[string]Trial `json:"owners,omitempty"` // by Entry.ownerKey: owners without a healthy replacement
}

// ActWithin is how long after its reservation a pod may be evicted. It is added to the window of
// the budgets, so that no window holds more evictions than they allow, however long each took from
// its reservation.
const ActWithin = 15 * time.Second

// maxClockSkew is by how much the clocks of two API servers, and a clock read with a precision of a
// second, may differ.
const maxClockSkew = 2 * time.Second

// maxEntries bounds the ledger, whose text must fit into an annotation.
const maxEntries = 600

// maxTrials bounds the trials as well. A backend may belong to one pod alone, and is remembered for
// half an hour. One that is forgotten early is tried once more.
const maxTrials = 200

// Ask is the question whether one pod may be evicted now.
type Ask struct {
	Entry                 // At is not used
	Failing int           // pods of this node whose mount of the same backend has failed, this one included
	Created time.Time     // when the pod was created, by the API server's clock
	Healthy time.Duration // for how long its mounts were seen healthy; 0 if not known
}

// Refusal says why a pod must not be evicted now, and when to ask again.
type Refusal struct {
	Held       controllers.Held
	Message    string
	RetryAfter time.Duration
}

// checkAsk returns a Refusal, or nil. The pod's own entry does not count against it.
func (s State) checkAsk(a Ask, cfg config.Config, now time.Time) *Refusal {
	s = s.withoutPod(a)
	return cmp.Or(s.checkCircuitBreaker(a, cfg.Storm, now), s.checkOwnerInProgress(a), s.checkUnreplaced(a, cfg, now), s.checkBudgets(a, cfg.Budgets, now))
}

func (s State) withoutPod(a Ask) State {
	s.Entries = slices.DeleteFunc(slices.Clone(s.Entries), func(e Entry) bool { return e.PodUID == a.PodUID })
	return s
}

// inProgressRetry is how soon to ask again about what another agent may end at any time.
const inProgressRetry = 3 * time.Second

// checkOwnerInProgress refuses while another pod of the owner is being replaced, so that its pods
// are evicted one at a time, for each kind of causes. There are two exceptions. Pods that share one
// broken mount are evicted together, because one alone would not get a fresh mount. And a
// replacement that is up but not proven yet does not hold the next pod once another pod has proven
// the backend.
func (s State) checkOwnerInProgress(a Ask) *Refusal {
	backendProven := isProven(s.trialsOf(a.Entry), a)
	for _, e := range s.Entries {
		provesItself := e.Up && backendProven
		if e.isPending() && e.ownerName() == a.ownerName() && e.mayHold(a) && !e.sharesMount(a.Entry) && !provesItself {
			return &Refusal{controllers.HeldOwnerBusy, fmt.Sprintf("another pod of %s is being replaced: %s on node %s; one goes at a time", a.Owner, e.Pod, e.Node), inProgressRetry}
		}
	}
	return nil
}

func (e Entry) isPending() bool { return e.Aftermath == controllers.AftermathPending }

// mayHold reports whether the entry may hold the pod at all. An eviction for a recoverable cause
// stays pending until its replacement has proven itself, and a pod with a dead daemon does not wait
// for that.
func (e Entry) mayHold(a Ask) bool { return a.Cause.Recoverable() || !e.Cause.Recoverable() }

func (e Entry) sharesMount(other Entry) bool {
	return e.Case != "" && e.sharedMountKey() == other.sharedMountKey()
}

// sharedMountKey names the mount that the pod shares with others of its node; "" when it shares
// none.
func (e Entry) sharedMountKey() string {
	if e.Case == "" {
		return ""
	}
	return e.Node + "/" + e.Case
}

// checkBudgets refuses what would exceed a budget, or the size of the ledger.
func (s State) checkBudgets(a Ask, b config.Budgets, now time.Time) *Refusal {
	if len(s.Entries) >= maxEntries {
		return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%d removals are being followed, more than one ledger holds", len(s.Entries)), 10 * time.Second}
	}
	if n := len(s.entriesOf(a.Namespace)); n >= namespaceShare(maxEntries, len(s.Entries)-n, b) {
		return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%d removals of the namespace %s are being followed, its share of the ledger", n, a.Namespace), 10 * time.Second}
	}
	for _, budget := range []struct {
		key   string
		limit int
		of    func(Entry) bool
	}{
		{"budgets.node", b.Node, func(e Entry) bool { return e.Node == a.Node }},
		{"budgets.namespace", b.Namespace, func(e Entry) bool { return e.Namespace == a.Namespace }},
		{"budgets.cluster", b.Cluster, func(Entry) bool { return true }},
	} {
		if wait := s.untilSlotFree(budget.limit, b.Window(), now, budget.of); wait > 0 {
			return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%s allows %d removals in %s", budget.key, budget.limit, b.Window()), wait}
		}
	}
	return nil
}

// namespaceShare returns how much of a limit of the ledger one namespace may use: half of what
// others leave of it, so that there is room for the next one. If the namespace budget is more than
// half of maxEntries, it is that fraction of the limit.
func namespaceShare(limit, others int, b config.Budgets) int {
	if b.Namespace > maxEntries/2 {
		return limit * b.Namespace / maxEntries
	}
	return (limit - others) / 2
}

// entriesOf returns the entries of a namespace.
func (s State) entriesOf(namespace string) (entries []Entry) {
	for _, e := range s.Entries {
		if e.Namespace == namespace {
			entries = append(entries, e)
		}
	}
	return entries
}

// untilSlotFree returns how long it takes until a full window has room again; 0 when it has room.
func (s State) untilSlotFree(limit int, window time.Duration, now time.Time, of func(Entry) bool) time.Duration {
	var ends []time.Time
	for _, e := range s.Entries {
		if end := e.At.Add(countedFor(window)); of(e) && end.After(now) {
			ends = append(ends, end)
		}
	}
	if len(ends) < limit {
		return 0
	}
	slices.SortFunc(ends, time.Time.Compare)
	return max(ends[len(ends)-limit].Sub(now), time.Millisecond)
}

// countedFor returns for how long after its reservation an entry counts in a window.
func countedFor(window time.Duration) time.Duration { return window + ActWithin + maxClockSkew }

// maxChosenTime bounds how much of a time that a pod's author chooses (a grace period,
// hang-seconds) others have to wait.
const maxChosenTime = MaxWellFor

// followUpTimeout is for how long some agent is believed to follow the entry. After that the entry
// holds no other pod, whatever its pod asked for.
func followUpTimeout(cfg config.Config, e Entry) time.Duration {
	return time.Duration(cfg.FollowUpSeconds)*time.Second + boundSeconds(e.Grace) + boundSeconds(e.WellFor) + 2*time.Minute
}

// boundSeconds returns a time that a pod's author chooses, within maxChosenTime.
func boundSeconds(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), int64(maxChosenTime/time.Second))) * time.Second
}

// inferAftermath returns the result of an entry that no agent has closed in time. If the pod may
// still be within its grace period, or a replacement was up but not proven yet, that says nothing
// about the backend. Otherwise nothing good is known.
func (e Entry) inferAftermath() controllers.Aftermath {
	if e.Up || e.Grace > int64(maxChosenTime/time.Second) {
		return controllers.AftermathStuckTerminating
	}
	return controllers.AftermathStuckCreating
}

// prune drops what is of no use any more. A pending entry whose agent has not closed it in time
// counts as closed at the end of that time. The result is the same whichever agent computes it, and
// however often before one writes it.
func (s State) prune(cfg config.Config, now time.Time) State {
	next := State{Trials: cloneTrials(s.Trials), Owners: cloneTrials(s.Owners)}
	for _, e := range s.Entries {
		if end := e.At.Add(followUpTimeout(cfg, e)); e.isPending() && now.After(end) {
			e = next.closeEntry(e, e.inferAftermath(), end)
		}
		if e.isPending() || now.Sub(e.At) <= countedFor(cfg.Budgets.Window()) {
			next.Entries = append(next.Entries, e)
		}
	}
	maps.DeleteFunc(next.Trials, func(_ string, t Trial) bool { return t.isForgotten(now) })
	for len(next.Trials) > maxTrials {
		delete(next.Trials, next.leastInformativeTrial())
	}
	next.pruneOwners(cfg, now)
	return next
}

// cloneTrials returns a copy that may be written to.
func cloneTrials(trials map[string]Trial) map[string]Trial {
	if trials == nil {
		return map[string]Trial{}
	}
	return maps.Clone(trials)
}

// leastInformativeTrial names the backend that may be forgotten first: the one that has been known
// as healthy for the longest, or if none is healthy, the one that has been failing for the longest.
func (s State) leastInformativeTrial() string {
	return slices.MinFunc(slices.Collect(maps.Keys(s.Trials)), func(a, b string) int {
		t, u := s.Trials[a], s.Trials[b]
		if t.isFailing() != u.isFailing() {
			if u.isFailing() {
				return -1
			}
			return 1
		}
		return cmp.Or(t.lastResultAt().Compare(u.lastResultAt()), cmp.Compare(a, b))
	})
}

// closeEntry records how an eviction ended, and what that says of its backend and owner. The entry
// that is left is what the budgets count, and the pod's name for people.
func (s State) closeEntry(e Entry, a controllers.Aftermath, now time.Time) Entry {
	s.learnAftermath(e, a, now)
	return Entry{At: e.At, Node: e.Node, Namespace: e.Namespace, Pod: e.Pod, PodUID: e.PodUID, Aftermath: a, Closed: now}
}

// findEntry returns the index of the pod's entry, or -1.
func (s State) findEntry(uid string) int {
	return slices.IndexFunc(s.Entries, func(e Entry) bool { return string(e.PodUID) == uid })
}
