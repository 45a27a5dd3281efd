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

// State is what the ledger says.
type State struct {
	Entries []Entry          `json:"entries,omitempty"`
	Trials  map[string]Trial `json:"trials,omitempty"` // of backends, by Entry.backendKey
	Owners  map[string]Trial `json:"owners,omitempty"` // of those whose latest removal has no healthy replacement, by Entry.ownerKey
}

// ActWithin is how long after its reservation a pod may be removed. It is added to the window of the budgets, so that no window of
// removals holds more than they allow, however long each took from reservation to act.
const ActWithin = 15 * time.Second

// clockSlack is by how much the clocks of two API servers, and a clock read with a precision of a second, may differ.
const clockSlack = 2 * time.Second

// maxEntries bounds the ledger, whose text must fit into an annotation.
const maxEntries = 600

// maxTrials bounds them, too. A backend may be one pod's alone, and is known for half an hour. One that is forgotten early is tried
// once more.
const maxTrials = 200

// Ask is the question whether one pod may be removed now.
type Ask struct {
	Entry                 // At is not used
	Failing int           // pods of this node whose mount of the same backend has failed, this one included
	Created time.Time     // when the pod was made, by the API server's clock
	Healthy time.Duration // for how long its mounts were seen healthy; 0 when that is not known
}

// Refusal says why a pod must not be removed now, and when to ask again.
type Refusal struct {
	Held       controllers.Held
	Message    string
	RetryAfter time.Duration
}

// admit refuses an Ask or says nothing. The pod's own entry does not count against it.
func (s State) admit(a Ask, cfg config.Config, now time.Time) *Refusal {
	s = s.without(a)
	return cmp.Or(s.storm(a, cfg.Storm, now), s.ownerBusy(a), s.unreplaced(a, cfg, now), s.spent(a, cfg.Budgets, now))
}

func (s State) without(a Ask) State {
	s.Entries = slices.DeleteFunc(slices.Clone(s.Entries), func(e Entry) bool { return e.PodUID == a.PodUID })
	return s
}

// busyRetry is how soon to ask again for what another agent may end at any time.
const busyRetry = 3 * time.Second

// ownerBusy refuses while another pod of the owner is being replaced, so that its pods go one at a time, those of each kind of causes. Pods
// that share one broken mount are the exception: one alone would not get a fresh one. A replacement that is up and has to prove
// itself holds the next pod no longer once another one of the backend has.
func (s State) ownerBusy(a Ask) *Refusal {
	isProven := proven(s.trialsOf(a.Entry), a)
	for _, e := range s.Entries {
		provesItself := e.Up && isProven
		if e.pending() && e.ownedBy() == a.ownedBy() && e.holds(a) && !e.sameCase(a.Entry) && !provesItself {
			return &Refusal{controllers.HeldOwnerBusy, fmt.Sprintf("another pod of %s is being replaced: %s on node %s; one goes at a time", a.Owner, e.Pod, e.Node), busyRetry}
		}
	}
	return nil
}

func (e Entry) pending() bool { return e.Aftermath == controllers.AftermathPending }

// holds reports whether the entry may hold the pod at all. A removal for a recoverable cause is open for as long as its replacement has
// to prove itself, and a dead daemon does not wait for that.
func (e Entry) holds(a Ask) bool { return a.Cause.Recoverable() || !e.Cause.Recoverable() }

func (e Entry) sameCase(other Entry) bool { return e.Case != "" && e.caseKey() == other.caseKey() }

// caseKey names the mount that the pod shares with others of its node; "" when it shares none.
func (e Entry) caseKey() string {
	if e.Case == "" {
		return ""
	}
	return e.Node + "/" + e.Case
}

// spent refuses what would exceed a budget.
func (s State) spent(a Ask, b config.Budgets, now time.Time) *Refusal {
	if len(s.Entries) >= maxEntries {
		return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%d removals are being followed, more than one ledger holds", len(s.Entries)), 10 * time.Second}
	}
	if n := len(s.of(a.Namespace)); n >= shareOf(maxEntries, len(s.Entries)-n, b) {
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
		if wait := s.full(budget.limit, b.Window(), now, budget.of); wait > 0 {
			return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%s allows %d removals in %s", budget.key, budget.limit, b.Window()), wait}
		}
	}
	return nil
}

// shareOf is how much of a limit of the ledger one namespace may use up: half of what others leave of it, so that there is room for the next,
// or as much as its budget asks for where that is more than half of all.
func shareOf(limit, others int, b config.Budgets) int {
	if b.Namespace > maxEntries/2 {
		return limit * b.Namespace / maxEntries
	}
	return (limit - others) / 2
}

// of returns the entries of a namespace.
func (s State) of(namespace string) (entries []Entry) {
	for _, e := range s.Entries {
		if e.Namespace == namespace {
			entries = append(entries, e)
		}
	}
	return entries
}

// full returns how long it takes until a window that holds the limit has room again; 0 when it has.
func (s State) full(limit int, window time.Duration, now time.Time, of func(Entry) bool) time.Duration {
	var ends []time.Time
	for _, e := range s.Entries {
		if end := e.At.Add(span(window)); of(e) && end.After(now) {
			ends = append(ends, end)
		}
	}
	if len(ends) < limit {
		return 0
	}
	slices.SortFunc(ends, time.Time.Compare)
	return max(ends[len(ends)-limit].Sub(now), time.Millisecond)
}

func span(window time.Duration) time.Duration { return window + ActWithin + clockSlack }

// maxHeld is how much of what a pod's author chooses, a grace period or a hang-seconds, counts for others.
const maxHeld = MaxWellFor

// expiry is for how long an entry is believed to be followed by somebody. Beyond it the entry holds nobody, whatever its pod asked for.
func expiry(cfg config.Config, e Entry) time.Duration {
	return time.Duration(cfg.FollowUpSeconds)*time.Second + heldFor(e.Grace) + heldFor(e.WellFor) + 2*time.Minute
}

func heldFor(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), int64(maxHeld/time.Second))) * time.Second
}

// endOfExpired is how an entry has ended that nobody has told the end of. That a pod may still be within its grace period says nothing of
// the backend, nor that a replacement was up which has not proven itself; else nothing good is known.
func (e Entry) endOfExpired() controllers.Aftermath {
	if e.Up || e.Grace > int64(maxHeld/time.Second) {
		return controllers.AftermathStuckTerminating
	}
	return controllers.AftermathStuckCreating
}

// pruned drops what is of no use any more. An entry whose agent has not told its end in time proves nothing good: it has ended when that
// time was over, whoever reads it, and however often before somebody writes it.
func (s State) pruned(cfg config.Config, now time.Time) State {
	next := State{Trials: cloned(s.Trials), Owners: cloned(s.Owners)}
	for _, e := range s.Entries {
		if end := e.At.Add(expiry(cfg, e)); e.pending() && now.After(end) {
			e = next.end(e, e.endOfExpired(), end)
		}
		if e.pending() || now.Sub(e.At) <= span(cfg.Budgets.Window()) {
			next.Entries = append(next.Entries, e)
		}
	}
	maps.DeleteFunc(next.Trials, func(_ string, t Trial) bool { return t.forgotten(now) })
	for len(next.Trials) > maxTrials {
		delete(next.Trials, next.leastTelling())
	}
	next.forgetOwners(cfg, now)
	return next
}

// cloned returns a copy that may be written to.
func cloned(trials map[string]Trial) map[string]Trial {
	if trials == nil {
		return map[string]Trial{}
	}
	return maps.Clone(trials)
}

// leastTelling names the backend of which is known the longest that it is well; where none is well, the longest that it is not.
func (s State) leastTelling() string {
	return slices.MinFunc(slices.Collect(maps.Keys(s.Trials)), func(a, b string) int {
		t, u := s.Trials[a], s.Trials[b]
		if t.failing() != u.failing() {
			if u.failing() {
				return -1
			}
			return 1
		}
		return cmp.Or(t.latest().Compare(u.latest()), cmp.Compare(a, b))
	})
}

// end notes how a removal ended, and what that teaches. Of the entry remains what the budgets count, and for people the pod.
func (s State) end(e Entry, a controllers.Aftermath, now time.Time) Entry {
	s.learn(e, a, now)
	return Entry{At: e.At, Node: e.Node, Namespace: e.Namespace, Pod: e.Pod, PodUID: e.PodUID, Aftermath: a, Closed: now}
}

// find returns the entry of a pod.
func (s State) find(uid string) int {
	return slices.IndexFunc(s.Entries, func(e Entry) bool { return string(e.PodUID) == uid })
}
