package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
)

var errProtocol = errors.New("the worker has written what it never should; it was ended")

// send is dispatch in a goroutine of its own.
func (t *turns) send(b *batch) {
	if !t.pool.run(func() { t.dispatch(b) }) {
		t.fail(b.flights, errClosed)
	}
}

// dispatch flies what has its turn, and sees to it that the rest gets a result, too. It waits for a worker, at most until
// the asker's time ends.
func (t *turns) dispatch(b *batch) {
	for _, q := range t.claim(b) {
		if !t.pool.run(func() { t.wait(q) }) {
			t.fail(q.batch.flights, errClosed)
		}
	}
	if len(b.flights) > 0 {
		t.launch(b)
	}
}

func (t *turns) wait(q queue) {
	if t.outlast(q) {
		t.dispatch(q.batch)
		return
	}
	t.failUnanswered(q.batch.flights, q.other)
}

// fly waits for the worker as long as it takes; a late answer tells that the mount has recovered.
func (t *turns) fly(b *batch) {
	timer := time.NewTimer(t.cutAfter)
	defer timer.Stop()
	ended, forget := b.ends()
	defer forget()
	for {
		select {
		case _, alive := <-b.worker.messages:
			t.arrive(b, alive)
			return
		case <-timer.C:
			if next := t.tend(b); next > 0 {
				timer.Reset(next)
			}
		case <-ended:
			t.tend(b)
			t.overdue(b)
		}
	}
}

// ends returns a channel that tells each time that an asker's time has ended, until forget is called.
func (b *batch) ends() (ended <-chan struct{}, forget func()) {
	ends := make(chan struct{}, len(b.askers))
	stops := make([]func() bool, len(b.askers))
	for i, a := range b.askers {
		stops[i] = context.AfterFunc(a.ctx, func() { ends <- struct{}{} })
	}
	return ends, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// tend lands the flights of b that are answered, gives the later ones to others when one keeps them waiting, and parks that
// one when it takes too long. It returns after how long it wants to be called again; 0 is never.
func (t *turns) tend(b *batch) time.Duration {
	at, err := b.worker.board.Progress()
	if err == nil && at.Item == len(b.flights) { // it is about to say that it is done
		return t.cutAfter
	}
	if err == nil {
		err = t.settle(b, at.Item)
	}
	if err != nil {
		b.worker.kill() // so that the batch arrives
		return 0
	}
	if at.Item < 0 {
		return t.cutAfter
	}
	age := time.Since(t.epoch) - at.Begun
	if at.Item < len(b.flights)-1 {
		if age < t.cutAfter && time.Since(b.asked) < t.parkAfter && !t.isLate(b) {
			return t.cutAfter
		}
		if !b.worker.board.Cut(at) {
			return t.tend(b) // the worker has gone on
		}
		t.again(t.shed(b, at.Item))
	}
	if age < t.parkAfter {
		return t.parkAfter - age
	}
	if !t.pool.park(b, b.flights[at.Item]) {
		if t.pool.crowded() {
			t.forsake(b)
		}
		return t.parkAfter
	}
	t.stray(b.flights[at.Item], at.Stage)
	return 0
}

// settle lands the flights before item.
func (t *turns) settle(b *batch, item int) error {
	if item > len(b.flights) {
		return errProtocol
	}
	if item <= b.arrived {
		return nil
	}
	answers, err := b.answers(item)
	flights := b.flights[b.arrived : b.arrived+len(answers)]
	b.arrived += len(answers)
	t.finish(flights, func(i int) Result { return Result{Answer: answers[i]} })
	return err
}

// answers reads those of the flights from the first that has not landed to before item, or up to the first that makes no sense.
func (b *batch) answers(item int) (answers []check.Answer, err error) {
	answers = make([]check.Answer, 0, item-b.arrived)
	for i := b.arrived; i < item; i++ {
		a, err := b.worker.board.Answer(i)
		if err != nil {
			return answers, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// shed takes the flights from b that come after item, which the worker will not begin.
func (t *turns) shed(b *batch, item int) (rest []*flight) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest = b.flights[item+1:]
	b.flights = b.flights[:item+1]
	stuck := b.flights[item]
	stuck.next, stuck.last = nil, stuck
	for _, f := range rest {
		t.release(f)
	}
	return rest
}

// again sends flights out that hold no turn, those whose time has not ended: each device by itself, so that none waits for another, as any
// of them may be the next that hangs.
func (t *turns) again(flights []*flight) {
	type group struct {
		asker *asker
		key   key
	}
	groups := map[group]*batch{}
	for _, f := range flights {
		g := group{f.asker, f.key}
		switch {
		case f.asker.ctx.Err() != nil:
			t.fail([]*flight{f}, errNoTurn)
		case groups[g] == nil:
			groups[g] = newBatch(f)
			groups[g].alone = true
		default:
			groups[g].add(f)
		}
	}
	for _, b := range groups {
		t.send(b)
	}
}

// stray gives the device free when f is stuck on its way there: that says nothing about the device,
// which others reach on other ways. Should f come through, it may be the second one there.
func (t *turns) stray(f *flight, at check.Stage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at > check.StageOpen || f.key == f.way {
		return
	}
	t.vacate(f)
	f.key = f.way
	if t.held[f.key] == nil {
		t.held[f.key] = f
	}
}

// arrive ends b when the worker has said that it is done, or has ended.
func (t *turns) arrive(b *batch, alive bool) {
	at, err := b.worker.board.Progress()
	if err == nil {
		err = t.arriveAt(b, at, alive)
	}
	if err != nil {
		b.worker.kill()
		t.land(b, nil, err)
	}
}

func (t *turns) arriveAt(b *batch, at check.Progress, alive bool) error {
	end := len(b.flights)
	finished := at.Item == end || at.Cut && at.Item == end-1
	switch {
	case !alive:
		return t.crashed(b, at)
	case !finished:
		return errProtocol
	}
	answers, err := b.answers(end)
	if err != nil {
		return err
	}
	t.land(b, answers, nil)
	return nil
}

// crashed lands what was answered and blames the flight that was under way; the later ones go out again.
func (t *turns) crashed(b *batch, at check.Progress) error {
	if err := t.settle(b, at.Item); err != nil {
		return err
	}
	if at.Item >= 0 && at.Item < len(b.flights)-1 {
		t.again(t.shed(b, at.Item))
	}
	return fmt.Errorf("the worker ended during the look: %s", b.worker.exit)
}

// land gives the worker back, which is alive unless there is an error, and ends the flights that have not landed. The worker
// is there for the next one who asks before anybody learns of the answers.
func (t *turns) land(b *batch, answers []check.Answer, err error) {
	t.mu.Lock()
	b.board = nil
	t.mu.Unlock()
	t.pool.leave(b, err == nil)
	t.finish(b.flights[b.arrived:], func(i int) Result {
		if err != nil {
			return Result{Err: err}
		}
		return Result{Answer: answers[i]}
	})
}

// isLate reports whether the time of one has ended who waits for b.
func (t *turns) isLate(b *batch) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(b.flights[b.arrived:], (*flight).late)
}

// late reports whether somebody waits for f whose time has ended.
func (f *flight) late() bool { return !f.reported && f.asker.ctx.Err() != nil }

// overdue reports the flights of b that have no answer when the time of their asker ends. When no place is left among the parked, the
// worker is forsaken: it would keep the slot that others need.
func (t *turns) overdue(b *batch) {
	if !t.isLate(b) {
		return
	}
	if !t.pool.park(b, b.flights[b.arrived]) {
		t.forsake(b)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range b.flights[b.arrived:] {
		if f.late() {
			report(f, t.unanswered(f.asker, f))
		}
	}
}

// forsake gives up on b. While its worker is inside the kernel nobody else is sent to the same place.
func (t *turns) forsake(b *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.full = fmt.Errorf("no answer, and %w: %d", errFull, t.pool.opts.MaxParked)
	for _, f := range b.flights[b.arrived:] {
		report(f, Result{Err: b.full})
	}
	t.pool.forsake(b)
}
