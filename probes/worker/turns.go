package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
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
	cutAfter  time.Duration
	epoch     time.Time // when CLOCK_MONOTONIC was 0

	mu   sync.Mutex
	held map[key]*flight // whose turn it is
}

// cutAfter is how long one item may keep the rest of its batch waiting: more than any healthy file system needs, even where all
// processors are busy (docs/adr/0009), little beside the timeout of a look.
const cutAfter = 100 * time.Millisecond

func newTurns(p *Pool, parkAfter time.Duration) *turns {
	return &turns{
		pool: p, parkAfter: parkAfter, cutAfter: min(cutAfter, parkAfter), epoch: time.Now().Add(-sys.Monotonic()), held: map[key]*flight{},
	}
}

// queue is a batch that waits for a flight of somebody else.
type queue struct {
	batch *batch
	other *flight
	left  <-chan struct{} // closed when other has left
}

// claim takes the turns of those flights of b that can have theirs now, and leaves only these in b. The others are
// returned, together with whom they wait for. Flights of b for the same device follow one another.
func (t *turns) claim(b *batch) (waiting []queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := b.flights
	b.flights, b.size = nil, 0
	for _, f := range all {
		other := t.rival(f, b)
		if other == nil {
			t.hold(f)
			f.batch, f.item = b, len(b.flights)
			b.add(f)
			continue
		}
		waiting = enqueue(waiting, other, f)
	}
	return waiting
}

// rival returns the flight of another batch whose turn it is where f wants to go.
func (t *turns) rival(f *flight, b *batch) *flight {
	for _, k := range [...]key{f.key, f.way} {
		if other := t.held[k]; other != nil && other.batch != b {
			return other
		}
	}
	return nil
}

func (t *turns) hold(f *flight) {
	first := t.held[f.key]
	if first == nil {
		t.held[f.key] = f
		return
	}
	first.last.next = f
	first.last = f
}

func enqueue(waiting []queue, other, f *flight) []queue {
	for i := range waiting {
		if waiting[i].other == other {
			waiting[i].batch.add(f)
			return waiting
		}
	}
	if other.left == nil {
		other.left = make(chan struct{})
	}
	return append(waiting, queue{batch: newBatch(f), other: other, left: other.left})
}

// vacate gives f's turn to the next of its batch, or free.
func (t *turns) vacate(f *flight) {
	switch {
	case t.held[f.key] != f:
	case f.next != nil:
		t.held[f.key] = f.next
		f.next.last = f.last
	default:
		delete(t.held, f.key)
	}
	f.next, f.last = nil, f
	if f.left != nil {
		close(f.left)
		f.left = nil
	}
}

// release takes f out of its batch.
func (t *turns) release(f *flight) {
	t.vacate(f)
	f.batch = nil
}

// asked reports whether a worker has f.
func (f *flight) asked() bool { return f.batch != nil && f.batch.board != nil }

// outlast waits for q.other to leave. It gives up, and reports false, when the asker's time ends or as soon as the other has
// been under way for as long.
func (t *turns) outlast(q queue) bool {
	a := q.batch.asker()
	patience, cancel := context.WithCancel(a.ctx)
	if begun := t.begunAt(q.other); !begun.IsZero() {
		cancel()
		patience, cancel = context.WithDeadline(a.ctx, begun.Add(a.timeout))
	}
	defer cancel()
	select {
	case <-q.left:
		return true
	case <-patience.Done():
		return false
	}
}

func (t *turns) begunAt(f *flight) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	begun, _ := t.where(f)
	return begun
}

// where returns since when f is on its way to the path or beyond, and in which stage. The time is zero when it is not.
func (t *turns) where(f *flight) (time.Time, check.Stage) {
	if f.landed || !f.asked() {
		return time.Time{}, 0
	}
	at, err := f.batch.board.Progress()
	if err != nil || at.Item != f.item || at.Stage == check.StageRoot {
		return time.Time{}, 0
	}
	return t.epoch.Add(at.Begun), at.Stage
}

// finish ends flights with their results.
func (t *turns) finish(flights []*flight, result func(i int) Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, f := range flights {
		f.landed = true
		t.vacate(f)
		report(f, result(i))
	}
}

// fail ends flights of which nothing is known.
func (t *turns) fail(flights []*flight, err error) {
	t.finish(flights, func(int) Result { return Result{Err: err} })
}

// report hands the asker the result of f, unless it has one already.
func report(f *flight, r Result) {
	if f.reported {
		return
	}
	f.reported = true
	r.At = time.Now()
	f.asker.results[f.index] = r
	f.asker.pending--
	if f.asker.pending == 0 {
		close(f.asker.done)
	}
}

// failUnanswered ends flights that have waited for other in vain.
func (t *turns) failUnanswered(flights []*flight, other *flight) {
	t.mu.Lock()
	r := t.unanswered(flights[0].asker, other)
	t.mu.Unlock()
	t.finish(flights, func(int) Result { return r })
}

// unanswered is what a gets who has waited for f in vain. It is a hang only when the file system itself had at
// least half of the timeout to answer; the rest may have gone by in waiting for a turn or a worker.
func (t *turns) unanswered(a *asker, f *flight) Result {
	begun, stage := t.where(f)
	switch {
	case f.batch != nil && f.batch.full != nil:
		return Result{Err: f.batch.full}
	case errors.Is(a.ctx.Err(), context.Canceled):
		return Result{Err: fmt.Errorf("the look was called off: %w", a.ctx.Err())}
	case begun.IsZero() && f.asked():
		return Result{Err: errNotBegun}
	case begun.IsZero() || time.Since(begun) < a.timeout/2:
		return Result{Err: errNoTurn}
	default:
		return Result{Since: begun, Stage: stage}
	}
}
