package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

const (
	callTimeout = 5 * time.Second
	// maxCopyAge is how old a copy of the ledger may be by which an Ask is refused. Nothing is
	// granted by a copy alone: the API server compares its resourceVersion.
	maxCopyAge = 2 * time.Second
)

// anyAge lets an agent write what it knows best itself, such as the end of its own eviction,
// without a read before.
const anyAge = time.Duration(math.MaxInt64)

// ErrMalformed says that the ledger exists and cannot be parsed. No pod is evicted then.
var ErrMalformed = errors.New("malformed ledger")

// Store keeps the ledger of all agents in Leases. It is safe for concurrent use.
type Store struct {
	leases coordinationclient.LeaseInterface
	config config.Config
	now    func() time.Time

	pending pendingEdits // edits that wait for mu

	mu            sync.Mutex // also lets one change of this agent at a time go to the API server
	lease         *coordinationv1.Lease
	stored        State // the content of lease, not pruned
	readAt        time.Time
	throttle      throttle
	lastConflict  time.Time     // when another agent last wrote first
	lastWriteTook time.Duration // how long the latest write took
	sweptAt       time.Time
	readErr       error // of the latest read; nil if it succeeded
	readErrAt     time.Time
}

// NewStore returns a Store that keeps its Leases in cfg.Namespace. now is the time by the API
// server's clock (see Clock).
func NewStore(client kubernetes.Interface, cfg config.Config, now func() time.Time) *Store {
	return &Store{leases: client.CoordinationV1().Leases(cfg.Namespace), config: cfg, now: now, sweptAt: now()}
}

// Refuse refuses by what is known without any write: by a copy of the ledger that may be two
// seconds old. nil promises nothing. An agent whose pods have been refused for long reads the
// ledger less often, and all its pods then ask by that one read.
func (s *Store) Refuse(ctx context.Context, a Ask) (*Refusal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := maxCopyAge
	if s.throttle.remainingWait(s.now()) > 0 {
		age = anyAge
	}
	if err := s.refreshCopy(ctx, age); err != nil {
		return nil, err
	}
	refusal := s.pruneCopy().checkAsk(a, s.config, s.now())
	if refusal == nil && (s.isCopyStale() || s.throttle.isBlocked(s.now())) {
		refusal = &Refusal{Held: controllers.HeldRateLimit, Message: "pods of many nodes are to be removed, and each node asks in its turn"}
	}
	return s.setRetryAfter(refusal), nil
}

// maxRetryAfter is the longest time before a refused pod asks again, however long the refusal is
// valid. A replacement may be found healthy before, or somebody may have deleted the ledger. Asking
// costs one read of the copy.
const maxRetryAfter = 15 * time.Second

// setRetryAfter notes a refusal and sets when to ask again: not before the ledger is read again,
// nor at the same instant as other pods.
func (s *Store) setRetryAfter(r *Refusal) *Refusal {
	if r == nil {
		return nil
	}
	now := s.now()
	if !s.isCopyStale() {
		s.throttle.recordRefusal(now)
	}
	wait := min(r.RetryAfter, maxRetryAfter)
	r.RetryAfter = max(wait+rand.N(wait/2+1), s.throttle.remainingWait(now))
	return r
}

func (s *Store) isCopyStale() bool { return s.now().Sub(s.readAt).Abs() >= maxCopyAge }

// Reserve grants the eviction of a pod by adding its entry, or refuses. The grant is valid for the
// returned time, at most ActWithin. The same pod may ask again: it is granted again, and counted
// again once the first grant is over. An error means that the entry may have been written or not.
func (s *Store) Reserve(ctx context.Context, a Ask) (holds time.Duration, refusal *Refusal, err error) {
	owner, err := s.readOwnerLease(ctx, a)
	if err != nil {
		return 0, nil, err
	}
	if refusal := owner.streak.checkReplacement(a, s.config.Backoff, s.now()); refusal != nil {
		return 0, refusal, nil
	}
	since, refusal, err := s.addEntry(ctx, a)
	if refusal != nil || err != nil {
		return 0, refusal, err
	}
	if err := s.countRemoval(ctx, owner, a); err != nil {
		return 0, nil, err
	}
	return max(0, since.Add(ActWithin).Sub(s.now())), nil, nil
}

// addEntry adds the entry, unless a recent one is there already, and returns since when it has been
// there.
func (s *Store) addEntry(ctx context.Context, a Ask) (since time.Time, refusal *Refusal, err error) {
	err = s.updateLedger(ctx, maxCopyAge, func(state State, now time.Time) (State, bool) {
		since, refusal = now, nil
		if i := state.findEntry(string(a.PodUID)); i >= 0 && state.Entries[i].isPending() && now.Sub(state.Entries[i].At) < ActWithin/2 {
			since = state.Entries[i].At
			return state, false
		}
		if refusal = state.checkAsk(a, s.config, now); refusal != nil {
			return state, false
		}
		next := state.withoutPod(a)
		a.At = now
		next.Entries = append(next.Entries, a.Entry)
		refusal = checkSize(next, a, s.config.Budgets)
		return next, refusal == nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errContended) { // it is certain that nothing was written
		refusal, err = &Refusal{Held: controllers.HeldRateLimit, Message: "pods of many nodes are being removed at this moment, and their agents were faster"}, nil
	}
	return since, s.setRetryAfter(refusal), err
}

// maxText bounds the JSON of the entries, in bytes. All annotations of an object together may have
// 262,144 (apimachinery, TotalAnnotationSizeLimitB). maxTrials and maxOwners, of 300 and 500 bytes
// at most each, bound the rest.
const maxText = 120 << 10

// encodeJSON is json.Marshal without escapes for HTML, by which a name that a tenant chooses could
// grow sixfold.
func encodeJSON(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// checkSize refuses an entry that would not fit into the Lease, or into the share of its namespace.
func checkSize(s State, a Ask, b config.Budgets) *Refusal {
	all, errAll := encodeJSON(s.Entries)
	own, errOwn := encodeJSON(s.entriesOf(a.Namespace))
	if errAll == nil && errOwn == nil && len(all) <= maxText && len(own) <= namespaceShare(maxText, len(all)-len(own), b) {
		return nil
	}
	return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%d removals are in the ledger, %d of them of the namespace %s, and it holds no more of that",
		len(s.Entries)-1, len(s.entriesOf(a.Namespace))-1, a.Namespace), 10 * time.Second}
}

// Release takes back what was reserved at that time and not done. The zero time means any time.
func (s *Store) Release(ctx context.Context, pod types.UID, at time.Time) error {
	return s.updateLedger(ctx, maxCopyAge, func(state State, _ time.Time) (State, bool) {
		i := state.findEntry(string(pod))
		if i < 0 || !at.IsZero() && !state.Entries[i].At.Equal(at) {
			return state, false
		}
		state.Entries = append(state.Entries[:i:i], state.Entries[i+1:]...)
		return state, true
	})
}

// MarkUp notes that a replacement pod is up and has to prove itself. It may be called again.
func (s *Store) MarkUp(ctx context.Context, pod types.UID) error {
	return s.updateLedger(ctx, anyAge, func(state State, _ time.Time) (State, bool) {
		i := state.findEntry(string(pod))
		if i < 0 || !state.Entries[i].isPending() || state.Entries[i].Up {
			return state, false
		}
		state.Entries[i].Up = true
		return state, true
	})
}

// Close notes how an eviction ended, even if it is late. It is no error if the entry is gone or
// closed already. A late success is recorded in any case.
func (s *Store) Close(ctx context.Context, e Entry, a controllers.Aftermath) error {
	err := s.updateLedger(ctx, anyAge, func(state State, now time.Time) (State, bool) {
		written := s.stored.findEntry(string(e.PodUID)) // as it was written: in state, a late entry counts as closed
		i := state.findEntry(string(e.PodUID))
		switch {
		case written >= 0 && s.stored.Entries[written].isPending():
			closed := state.closeEntry(s.stored.Entries[written], a, now)
			if i >= 0 {
				state.Entries[i] = closed
			}
		case a != controllers.AftermathHealed || i >= 0 && state.Entries[i].Aftermath == a:
			return state, false
		default:
			state.learnAftermath(e, a, now)
			if i >= 0 {
				state.Entries[i].Aftermath, state.Entries[i].Closed = a, now
			}
		}
		return state, true
	})
	if err != nil {
		return err
	}
	return s.deleteStaleLeases(ctx)
}

// Pending returns the evictions of this node that no agent has closed yet.
func (s *Store) Pending(ctx context.Context) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refreshCopy(ctx, 0); err != nil {
		return nil, err
	}
	var own []Entry
	for _, e := range s.pruneCopy().Entries {
		if e.Node == s.config.NodeName && e.isPending() {
			own = append(own, e)
		}
	}
	return own, nil
}

// refreshCopy reads the Lease unless the copy is young enough. Soon after a read that failed it
// returns that error without another read. Otherwise an API server that does not respond would hold
// up all pods that are to be evicted, one after the other.
func (s *Store) refreshCopy(ctx context.Context, age time.Duration) error {
	if s.lease != nil && s.now().Sub(s.readAt).Abs() < age {
		return nil
	}
	if s.readErr != nil && s.now().Sub(s.readErrAt).Abs() < maxCopyAge {
		return s.readErr
	}
	err := s.readLedger(ctx)
	s.readErr, s.readErrAt = nil, s.now()
	if ctx.Err() == nil {
		s.readErr = err
	}
	return err
}

// readLedger reads the Lease. If it does not exist, the ledger is empty.
func (s *Store) readLedger(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	lease, err := s.leases.Get(ctx, ledgerName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = newLedgerLease(s.config.Namespace)
	case err != nil:
		return fmt.Errorf("read the ledger, Lease %s/%s: %w", s.config.Namespace, ledgerName, err)
	}
	text, err := s.parseLedger(lease)
	if err != nil {
		return err
	}
	s.lease, s.stored, s.readAt = lease, text, s.now()
	return nil
}

// pruneCopy returns what the copy says, without what is out of date.
func (s *Store) pruneCopy() State { return s.stored.prune(s.config, s.now()) }

// parseLedger parses the ledger's text. A Lease without any is an empty ledger.
func (s *Store) parseLedger(lease *coordinationv1.Lease) (state State, err error) {
	text := lease.Annotations[annotationLedger]
	if text == "" {
		return state, nil
	}
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		return State{}, fmt.Errorf("%w: annotation %s of the Lease %s/%s is no ledger: %w; delete the Lease, and the agents begin a new one",
			ErrMalformed, annotationLedger, s.config.Namespace, ledgerName, err)
	}
	return state, nil
}

// writeLedger sends the state. The copy is dropped unless the API server accepted it.
func (s *Store) writeLedger(ctx context.Context, state State) error {
	text, err := encodeJSON(state)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	lease := s.lease.DeepCopy()
	lease.Annotations[annotationLedger] = string(text)
	s.stampLease(lease)
	s.lease = nil
	written, err := s.putLease(ctx, lease)
	if err != nil {
		return fmt.Errorf("write the ledger, Lease %s/%s: %w", s.config.Namespace, ledgerName, err)
	}
	s.lease, s.stored, s.readAt = written, state, s.now()
	return nil
}

// putLease creates or updates a Lease. One that was read is compared by its resourceVersion.
func (s *Store) putLease(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if lease.ResourceVersion == "" {
		return s.leases.Create(ctx, lease, metav1.CreateOptions{})
	}
	return s.leases.Update(ctx, lease, metav1.UpdateOptions{})
}
