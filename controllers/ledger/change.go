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

// errOldCopy is the conflict of a copy that has nothing to change and may be out of date.
var errOldCopy = errors.New("the copy is out of date")

// errOutrun says that other agents were faster at each try. Nothing was changed.
var errOutrun = errors.New("too many agents change it")

// crowdedFor is for how long after another agent was faster no old copy is tried: it would be in vain.
const crowdedFor = 10 * time.Second

// After a conflict an agent waits for at least twice as long as its latest write took: on a busy API server others would come in between again.
const (
	shortestSlot = 50 * time.Millisecond
	longestSlot  = 500 * time.Millisecond
)

// edit is a pure change of the ledger. It reports whether there is anything to write.
type edit struct {
	apply func(State, time.Time) (State, bool)
	age   time.Duration // of the copy that the first try may rest on
	done  bool          // guarded by Store.mu, as is err
	err   error
}

// line is of edits that wait while another is on its way to the API server. They all go together then.
type line struct {
	mu    sync.Mutex
	edits []*edit
}

func (l *line) add(e *edit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edits = append(l.edits, e)
}

// take empties the line. The result holds e in any case.
func (l *line) take(e *edit) []*edit {
	l.mu.Lock()
	defer l.mu.Unlock()
	edits := l.edits
	l.edits = nil
	if !slices.Contains(edits, e) {
		edits = append(edits, e)
	}
	return edits
}

func (l *line) drop(e *edit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edits = slices.DeleteFunc(l.edits, func(other *edit) bool { return other == e })
}

// change applies a pure change to the ledger as the API server has it, again as long as another agent was faster. The first try may
// rest on a copy of that age: what it writes is compared, and the copy is read anew if it is out of date. Pods that fail together ask
// together: their changes are one write. An agent that was outrun changes nothing for a while.
func (s *Store) change(ctx context.Context, age time.Duration, apply func(State, time.Time) (State, bool)) error {
	e := &edit{apply: apply, age: age}
	s.waiting.add(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.done:
	case s.pace.isBarred(s.now()):
		s.waiting.drop(e)
		return fmt.Errorf("change the ledger: %w: the next try is made in %s", errOutrun, s.pace.left(s.now()).Round(time.Second))
	default:
		s.commit(ctx, e)
	}
	return e.err
}

// commit makes the changes of all who wait, and e. An end of ctx is e's alone: the others try by themselves.
func (s *Store) commit(ctx context.Context, e *edit) {
	edits := s.waiting.take(e)
	err := s.try(ctx, edits)
	if errors.Is(err, errOutrun) {
		s.pace.outrun(s.now())
	}
	for _, other := range edits {
		if other == e || ctx.Err() == nil {
			other.err, other.done = err, true
		}
	}
}

func (s *Store) try(ctx context.Context, edits []*edit) error {
	age := anyAge
	for _, e := range edits {
		age = min(age, e.age)
	}
	if s.now().Sub(s.conflict).Abs() < crowdedFor {
		age = 0
	}
	var conflict error
	slot := min(max(2*s.took, shortestSlot), longestSlot)
	retry := wait.Backoff{Duration: slot, Factor: 2, Jitter: 1, Steps: 3}
	err := wait.ExponentialBackoffWithContext(ctx, retry, func(ctx context.Context) (done bool, err error) {
		conflict, err = s.tryOnce(ctx, age, edits)
		age = 0
		return conflict == nil, err
	})
	if conflict != nil && wait.Interrupted(err) {
		return fmt.Errorf("change the ledger: %w: %w", errOutrun, errors.Join(conflict, ctx.Err()))
	}
	return err
}

// tryOnce applies the changes to a copy of at most that age. A conflict is to be tried again, an error is not.
func (s *Store) tryOnce(ctx context.Context, age time.Duration, edits []*edit) (conflict, err error) {
	if err := s.refresh(ctx, age); err != nil {
		return nil, err
	}
	state, changed := applied(edits, s.state(), s.now())
	if !changed {
		if s.isOld() {
			return errOldCopy, nil
		}
		return nil, nil
	}
	began := time.Now()
	err = s.write(ctx, state)
	s.took = time.Since(began)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		s.conflict = s.now()
		return err, nil
	}
	if err == nil {
		s.pace.succeeded()
	}
	return nil, err
}

func applied(edits []*edit, state State, now time.Time) (next State, changed bool) {
	for _, e := range edits {
		if after, changes := e.apply(state, now); changes {
			state, changed = after, true
		}
	}
	return state, changed
}
