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
	// copyAge is how old a copy of the ledger may be that an Ask is refused by. Nothing is ever granted by a copy alone: the API
	// server compares its resourceVersion.
	copyAge = 2 * time.Second
)

// anyAge lets an agent write what it knows best itself, such as the end of its own removal, without a read before.
const anyAge = time.Duration(math.MaxInt64)

// ErrMalformed says that the ledger is there and cannot be read. Nobody is removed then.
var ErrMalformed = errors.New("malformed ledger")

// Store keeps the ledger of all agents in Leases. It is safe for concurrent use.
type Store struct {
	leases coordinationclient.LeaseInterface
	config config.Config
	now    func() time.Time

	waiting line // of changes for mu

	mu       sync.Mutex // also lets one change of this agent at a time go to the API server
	lease    *coordinationv1.Lease
	text     State // what the lease says
	read     time.Time
	pace     pace
	conflict time.Time     // when another agent was last faster
	took     time.Duration // by the latest write
	swept    time.Time
	failure  error // of the latest read
	failed   time.Time
}

// NewStore returns a Store that keeps its Leases in cfg.Namespace. now is the time by the API server's clock (see Clock).
func NewStore(client kubernetes.Interface, cfg config.Config, now func() time.Time) *Store {
	return &Store{leases: client.CoordinationV1().Leases(cfg.Namespace), config: cfg, now: now, swept: now()}
}

// Refuse refuses by what is known without any change: by a copy of the ledger that may be two seconds old. nil promises nothing. An
// agent whose pods have been refused for long reads the ledger less often, and then has them all ask together.
func (s *Store) Refuse(ctx context.Context, a Ask) (*Refusal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := copyAge
	if s.pace.left(s.now()) > 0 {
		age = anyAge
	}
	if err := s.refresh(ctx, age); err != nil {
		return nil, err
	}
	refusal := s.state().admit(a, s.config, s.now())
	if refusal == nil && (s.isOld() || s.pace.isBarred(s.now())) {
		refusal = &Refusal{Held: controllers.HeldRateLimit, Message: "pods of many nodes are to be removed, and each node asks in its turn"}
	}
	return s.refused(refusal), nil
}

// longestRefusal is for how long a pod is refused without asking again, however long the refusal is good for: a successor may be found healthy before,
// or a person may have deleted the ledger. To ask costs a read of the copy.
const longestRefusal = 15 * time.Second

// refused notes a refusal and says when it is worthwhile to ask again: not before the ledger is read again, nor at the same instant as others.
func (s *Store) refused(r *Refusal) *Refusal {
	if r == nil {
		return nil
	}
	now := s.now()
	if !s.isOld() {
		s.pace.refused(now)
	}
	wait := min(r.RetryAfter, longestRefusal)
	r.RetryAfter = max(wait+rand.N(wait/2+1), s.pace.left(now))
	return r
}

func (s *Store) isOld() bool { return s.now().Sub(s.read).Abs() >= copyAge }

// Reserve grants the removal of a pod by noting it, or refuses. A grant holds for so long from then on, at most ActWithin; asked again for the same
// pod it is granted again, and counted anew once that is over. An error means that it is not known whether it was noted.
func (s *Store) Reserve(ctx context.Context, a Ask) (holds time.Duration, refusal *Refusal, err error) {
	owner, err := s.owner(ctx, a)
	if err != nil {
		return 0, nil, err
	}
	if refusal := owner.row.refuse(a, s.config.Backoff, s.now()); refusal != nil {
		return 0, refusal, nil
	}
	since, refusal, err := s.note(ctx, a)
	if refusal != nil || err != nil {
		return 0, refusal, err
	}
	if err := s.count(ctx, owner, a); err != nil {
		return 0, nil, err
	}
	return max(0, since.Add(ActWithin).Sub(s.now())), nil, nil
}

// note adds the entry, unless a fresh one is there already, and returns since when it has been there.
func (s *Store) note(ctx context.Context, a Ask) (since time.Time, refusal *Refusal, err error) {
	err = s.change(ctx, copyAge, func(state State, now time.Time) (State, bool) {
		since, refusal = now, nil
		if i := state.find(string(a.PodUID)); i >= 0 && state.Entries[i].pending() && now.Sub(state.Entries[i].At) < ActWithin/2 {
			since = state.Entries[i].At
			return state, false
		}
		if refusal = state.admit(a, s.config, now); refusal != nil {
			return state, false
		}
		next := state.without(a)
		a.At = now
		next.Entries = append(next.Entries, a.Entry)
		refusal = tooLong(next, a, s.config.Budgets)
		return next, refusal == nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errOutrun) { // it is known that nothing was noted
		refusal, err = &Refusal{Held: controllers.HeldRateLimit, Message: "pods of many nodes are being removed at this moment, and their agents were faster"}, nil
	}
	return since, s.refused(refusal), err
}

// maxText bounds the text of the entries, in bytes. All annotations of an object together may have 262,144 (apimachinery,
// TotalAnnotationSizeLimitB); maxTrials and maxOwners, of 300 and 500 bytes at most, bound the rest.
const maxText = 120 << 10

// marshal is json.Marshal without escapes for HTML, which let a name of a tenant's choice grow sixfold.
func marshal(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// tooLong refuses an entry that would not fit into the Lease, or into the share of its namespace.
func tooLong(s State, a Ask, b config.Budgets) *Refusal {
	all, errAll := marshal(s.Entries)
	own, errOwn := marshal(s.of(a.Namespace))
	if errAll == nil && errOwn == nil && len(all) <= maxText && len(own) <= shareOf(maxText, len(all)-len(own), b) {
		return nil
	}
	return &Refusal{controllers.HeldRateLimit, fmt.Sprintf("%d removals are in the ledger, %d of them of the namespace %s, and it holds no more of that",
		len(s.Entries)-1, len(s.of(a.Namespace))-1, a.Namespace), 10 * time.Second}
}

// Release takes back what was reserved at that time and not done; at the zero time, whenever it was.
func (s *Store) Release(ctx context.Context, pod types.UID, at time.Time) error {
	return s.change(ctx, copyAge, func(state State, _ time.Time) (State, bool) {
		i := state.find(string(pod))
		if i < 0 || !at.IsZero() && !state.Entries[i].At.Equal(at) {
			return state, false
		}
		state.Entries = append(state.Entries[:i:i], state.Entries[i+1:]...)
		return state, true
	})
}

// MarkUp notes that a replacement is up and has to prove itself yet. It may be asked again.
func (s *Store) MarkUp(ctx context.Context, pod types.UID) error {
	return s.change(ctx, anyAge, func(state State, _ time.Time) (State, bool) {
		i := state.find(string(pod))
		if i < 0 || !state.Entries[i].pending() || state.Entries[i].Up {
			return state, false
		}
		state.Entries[i].Up = true
		return state, true
	})
}

// Close notes how a removal ended, be it late. One that is not in the ledger any more, or has been closed, is no error; that it has healed after all
// is still worth to be known.
func (s *Store) Close(ctx context.Context, e Entry, a controllers.Aftermath) error {
	err := s.change(ctx, anyAge, func(state State, now time.Time) (State, bool) {
		written := s.text.find(string(e.PodUID)) // as it is written: state has given up what is late
		i := state.find(string(e.PodUID))
		switch {
		case written >= 0 && s.text.Entries[written].pending():
			closed := state.end(s.text.Entries[written], a, now)
			if i >= 0 {
				state.Entries[i] = closed
			}
		case a != controllers.AftermathHealed || i >= 0 && state.Entries[i].Aftermath == a:
			return state, false
		default:
			state.learn(e, a, now)
			if i >= 0 {
				state.Entries[i].Aftermath, state.Entries[i].Closed = a, now
			}
		}
		return state, true
	})
	if err != nil {
		return err
	}
	return s.sweep(ctx)
}

// Pending returns the removals of this node whose end nobody has noted yet.
func (s *Store) Pending(ctx context.Context) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx, 0); err != nil {
		return nil, err
	}
	var own []Entry
	for _, e := range s.state().Entries {
		if e.Node == s.config.NodeName && e.pending() {
			own = append(own, e)
		}
	}
	return own, nil
}

// refresh reads the Lease unless the copy is young enough. Who has waited for a read that failed is told so, and does not wait as long again: an
// API server that answers nothing would else hold up, one after the other, all pods that are to be removed.
func (s *Store) refresh(ctx context.Context, age time.Duration) error {
	if s.lease != nil && s.now().Sub(s.read).Abs() < age {
		return nil
	}
	if s.failure != nil && s.now().Sub(s.failed).Abs() < copyAge {
		return s.failure
	}
	err := s.get(ctx)
	s.failure, s.failed = nil, s.now()
	if ctx.Err() == nil {
		s.failure = err
	}
	return err
}

// get reads the Lease. One that is not there is an empty ledger.
func (s *Store) get(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	lease, err := s.leases.Get(ctx, ledgerName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = newLedger(s.config.Namespace)
	case err != nil:
		return fmt.Errorf("read the ledger, Lease %s/%s: %w", s.config.Namespace, ledgerName, err)
	}
	text, err := s.parse(lease)
	if err != nil {
		return err
	}
	s.lease, s.text, s.read = lease, text, s.now()
	return nil
}

// state returns what the copy says, without what is out of date.
func (s *Store) state() State { return s.text.pruned(s.config, s.now()) }

// parse reads the ledger's text. One without any is empty.
func (s *Store) parse(lease *coordinationv1.Lease) (state State, err error) {
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

// write sends the state. The copy is forgotten unless the API server took it.
func (s *Store) write(ctx context.Context, state State) error {
	text, err := marshal(state)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	lease := s.lease.DeepCopy()
	lease.Annotations[annotationLedger] = string(text)
	s.stamp(lease)
	s.lease = nil
	written, err := s.put(ctx, lease)
	if err != nil {
		return fmt.Errorf("write the ledger, Lease %s/%s: %w", s.config.Namespace, ledgerName, err)
	}
	s.lease, s.text, s.read = written, state, s.now()
	return nil
}

// put creates or updates a Lease. One that was read is compared by its resourceVersion.
func (s *Store) put(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if lease.ResourceVersion == "" {
		return s.leases.Create(ctx, lease, metav1.CreateOptions{})
	}
	return s.leases.Update(ctx, lease, metav1.UpdateOptions{})
}
