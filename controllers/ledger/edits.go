package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// errStaleCopy is the conflict of a copy that has nothing to change but may be out of date.
var errStaleCopy = errors.New("the copy is out of date")

// errContended says that at each attempt another agent wrote first. Nothing was changed.
var errContended = errors.New("too many agents change it")

// contentionPeriod is for how long after a conflict no old copy is tried, because its write would
// most likely conflict again.
const contentionPeriod = 10 * time.Second

// After a conflict an agent waits for at least twice as long as its latest write took. On a busy
// API server, another agent would otherwise write in between again.
const (
	minRetryInterval = 50 * time.Millisecond
	maxRetryInterval = 500 * time.Millisecond
)

// edit is a pure change of the ledger. It reports whether there is anything to write.
type edit struct {
	apply func(State, time.Time) (State, bool)
	age   time.Duration // how old the copy may be that the first attempt starts from
	done  bool          // guarded by Store.mu, as is err
	err   error
}

// pendingEdits are the edits that wait while another one is on its way to the API server. All of
// them are then written together.
type pendingEdits struct {
	mu    sync.Mutex
	edits []*edit
}

func (p *pendingEdits) addEdit(e *edit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edits = append(p.edits, e)
}

// takeEdits returns the pending edits and empties the list. The result always holds e.
func (p *pendingEdits) takeEdits(e *edit) []*edit {
	p.mu.Lock()
	defer p.mu.Unlock()
	edits := p.edits
	p.edits = nil
	if !slices.Contains(edits, e) {
		edits = append(edits, e)
	}
	return edits
}

func (p *pendingEdits) dropEdit(e *edit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edits = slices.DeleteFunc(p.edits, func(other *edit) bool { return other == e })
}

// updateLedger applies a pure change to the ledger as the API server has it, and tries again while
// other agents write first. The first attempt may start from a copy of the given age: the write is
// compared by its resourceVersion, and the copy is read again if it is out of date. Pods that fail
// together ask together, so their changes become one write. After errContended the agent changes
// nothing for a while.
func (s *Store) updateLedger(ctx context.Context, age time.Duration, apply func(State, time.Time) (State, bool)) error {
	e := &edit{apply: apply, age: age}
	s.pending.addEdit(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.done:
	case s.throttle.isBlocked(s.now()):
		s.pending.dropEdit(e)
		return fmt.Errorf("change the ledger: %w: the next try is made in %s", errContended, s.throttle.remainingWait(s.now()).Round(time.Second))
	default:
		s.commitEdits(ctx, e)
	}
	return e.err
}

// commitEdits writes all pending edits, and e. If ctx ends, only e fails: the others try again
// themselves.
func (s *Store) commitEdits(ctx context.Context, e *edit) {
	edits := s.pending.takeEdits(e)
	err := s.writeEdits(ctx, edits)
	if errors.Is(err, errContended) {
		s.throttle.recordContention(s.now())
	}
	for _, other := range edits {
		if other == e || ctx.Err() == nil {
			other.err, other.done = err, true
		}
	}
}

// writeEdits tries until the edits are written, another error occurs, or the attempts are used up.
func (s *Store) writeEdits(ctx context.Context, edits []*edit) error {
	age := anyAge
	for _, e := range edits {
		age = min(age, e.age)
	}
	if s.now().Sub(s.lastConflict).Abs() < contentionPeriod {
		age = 0
	}
	var conflict error
	interval := min(max(2*s.lastWriteTook, minRetryInterval), maxRetryInterval)
	retry := wait.Backoff{Duration: interval, Factor: 2, Jitter: 1, Steps: 3}
	err := wait.ExponentialBackoffWithContext(ctx, retry, func(ctx context.Context) (done bool, err error) {
		conflict, err = s.tryEdits(ctx, age, edits)
		age = 0
		return conflict == nil, err
	})
	if conflict != nil && wait.Interrupted(err) {
		return fmt.Errorf("change the ledger: %w: %w", errContended, errors.Join(conflict, ctx.Err()))
	}
	return err
}

// tryEdits applies the edits to a copy of at most that age, and writes the result. After a conflict
// it can be tried again, after an error not.
func (s *Store) tryEdits(ctx context.Context, age time.Duration, edits []*edit) (conflict, err error) {
	if err := s.refreshCopy(ctx, age); err != nil {
		return nil, err
	}
	state, changed := applyEdits(edits, s.pruneCopy(), s.now())
	if !changed {
		if s.isCopyStale() {
			return errStaleCopy, nil
		}
		return nil, nil
	}
	began := time.Now()
	err = s.writeLedger(ctx, state)
	s.lastWriteTook = time.Since(began)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		s.lastConflict = s.now()
		return err, nil
	}
	if err == nil {
		s.throttle.recordSuccess()
	}
	return nil, err
}

// applyEdits applies the edits one after the other. It reports whether any of them changed the
// state.
func applyEdits(edits []*edit, state State, now time.Time) (next State, changed bool) {
	for _, e := range edits {
		if after, changes := e.apply(state, now); changes {
			state, changed = after, true
		}
	}
	return state, changed
}
