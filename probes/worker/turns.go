package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/proc"
)

var (
	errNoTurn   = errors.New("no turn within the timeout")
	errFull     = errors.New("too many looks are parked without an answer")
	errNotBegun = errors.New("the worker did not begin in time; the node may be overloaded")
)

// turns lets one look at a time reach a file system, and remembers those that do not come back.
type turns struct {
	pool      *Pool
	parkAfter time.Duration

	mu   sync.Mutex
	held map[string]*flight // whose turn it is, by flight.key
}

func newTurns(p *Pool, parkAfter time.Duration) *turns {
	return &turns{pool: p, parkAfter: parkAfter, held: map[string]*flight{}}
}

// flight is one look that is under way or waits for a worker.
type flight struct {
	target  *proc.Process
	request check.Request
	walk    string        // the key of the way to the path, which only this target goes
	done    chan struct{} // closed when answer and err are final
	worker  *child        // set before asked
	parked  bool          // guarded by the pool

	// guarded by turns.mu until done is closed
	key    string        // what it holds: the device, or the way to it
	left   chan struct{} // closed when it does not hold key any more
	asked  bool          // a worker has it
	begun  time.Time     // when the worker set out for the path; zero before
	stage  check.Stage
	answer check.Answer
	err    error // why there is no answer
}

func newFlight(device string, target *proc.Process, r check.Request) *flight {
	walk := fmt.Sprintf("walk %d/%d %s", target.PID, target.Start, r.Path)
	f := &flight{target: target, request: r, walk: walk, key: walk, done: make(chan struct{}), left: make(chan struct{})}
	if device != "" {
		f.key = "device " + device
	}
	return f
}

// look asks a worker and waits for the answer, for its turn at the device before that, at most until
// ctx ends. A file system that somebody else's look has been waiting for, for at least the timeout, is
// answered at once. With device "" only the way to the path is held.
func (t *turns) look(ctx context.Context, device string, target *proc.Process, r check.Request, timeout time.Duration) Result {
	f := newFlight(device, target, r)
	for {
		other, left := t.claim(f)
		if other == nil {
			break
		}
		if !t.outlast(ctx, other, left, timeout) {
			return t.unanswered(ctx, other, timeout)
		}
	}
	t.launch(ctx, f)
	select {
	case <-f.done:
	case <-ctx.Done():
		if !f.isDone() {
			return t.overdue(ctx, f, timeout)
		}
	}
	return Result{Answer: f.answer, Err: f.err}
}

func (f *flight) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// claim takes f's turn, or returns the flight that has it and when that will leave.
func (t *turns) claim(f *flight) (*flight, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range []string{f.key, f.walk} {
		if other := t.held[key]; other != nil {
			return other, other.left
		}
	}
	t.held[f.key] = f
	return nil, nil
}

// outlast waits for other to leave. It gives up, and reports false, when ctx ends or as soon as other has
// been under way for the timeout.
func (t *turns) outlast(ctx context.Context, other *flight, left <-chan struct{}, timeout time.Duration) bool {
	patience, cancel := context.WithCancel(ctx)
	if begun := t.begunAt(other); !begun.IsZero() {
		cancel()
		patience, cancel = context.WithDeadline(ctx, begun.Add(timeout))
	}
	defer cancel()
	select {
	case <-left:
		return true
	case <-patience.Done():
		return false
	}
}

func (t *turns) begunAt(f *flight) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.begun
}

// launch hands f to a worker. On failure f is done.
func (t *turns) launch(ctx context.Context, f *flight) {
	w, err := t.pool.take(ctx)
	if err != nil {
		t.finish(f, check.Answer{}, err)
		return
	}
	f.worker = w
	t.pool.enter(f)
	t.mu.Lock()
	f.asked = true
	t.mu.Unlock()
	if err := w.ask(f.target, f.request); err != nil {
		w.kill()
		t.land(f, check.Answer{}, fmt.Errorf("ask worker: %w", err))
		return
	}
	if !t.pool.run(func() { t.fly(f) }) {
		t.land(f, check.Answer{}, errClosed)
	}
}

// fly waits for the answer as long as it takes; a late one tells that the mount has recovered.
func (t *turns) fly(f *flight) {
	patience := time.NewTimer(t.parkAfter)
	defer patience.Stop()
	for {
		select {
		case m, alive := <-f.worker.messages:
			switch {
			case !alive:
				t.land(f, check.Answer{}, fmt.Errorf("the worker ended during the look: %s", f.worker.exit))
				return
			case m.Kind == check.KindProgress:
				t.advance(f, m.Answer.Stage)
			default:
				t.pool.rest(f.worker)
				t.land(f, m.Answer, nil)
				return
			}
		case <-patience.C:
			if !t.pool.park(f) || !t.stray(f) {
				patience.Reset(t.parkAfter)
			}
		}
	}
}

func (t *turns) advance(f *flight, s check.Stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.stage = s
	if s == check.StageOpen {
		f.begun = time.Now()
	}
}

// stray gives the device free when f is stuck on its way there: that says nothing about the device,
// which others reach on other ways. It reports false while the worker has not set out yet.
func (t *turns) stray(f *flight) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f.stage != check.StageOpen || f.key == f.walk {
		return !f.begun.IsZero()
	}
	t.vacate(f)
	f.key, f.left = f.walk, make(chan struct{})
	if t.held[f.key] == nil {
		t.held[f.key] = f
	}
	return true
}

func (t *turns) vacate(f *flight) {
	if t.held[f.key] == f {
		delete(t.held, f.key)
	}
	close(f.left)
}

// land ends a flight that had a worker.
func (t *turns) land(f *flight, answer check.Answer, err error) {
	t.pool.leave(f)
	t.finish(f, answer, err)
}

func (t *turns) finish(f *flight, answer check.Answer, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.answer, f.err = answer, err
	t.vacate(f)
	close(f.done)
}

// overdue is the result for who began the look. When no place is left among the parked, the worker is
// given up: it would keep the slot that others need.
func (t *turns) overdue(ctx context.Context, f *flight, timeout time.Duration) Result {
	if !t.pool.park(f) {
		f.worker.kill()
		return Result{Err: fmt.Errorf("no answer within %s, and %w: %d", timeout, errFull, t.pool.opts.MaxParked)}
	}
	return t.unanswered(ctx, f, timeout)
}

// unanswered is the result of waiting for f in vain. It is a hang only when the file system itself had at
// least half of the timeout to answer; the rest may have gone by in waiting for a turn or a worker.
func (t *turns) unanswered(ctx context.Context, f *flight, timeout time.Duration) Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return Result{Err: fmt.Errorf("the look was called off: %w", ctx.Err())}
	case f.asked && f.begun.IsZero():
		return Result{Err: errNotBegun}
	case !f.asked || time.Since(f.begun) < timeout/2:
		return Result{Err: errNoTurn}
	default:
		return Result{Since: f.begun, Stage: f.stage}
	}
}
