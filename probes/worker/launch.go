package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// launch hands b to a worker, together with what waits for one, too. Pods are looked at together (docs/adr/0009), and one
// message for all of them wakes up one worker once.
func (t *turns) launch(b *batch) {
	w, along, err := t.pool.take(b)
	switch {
	case errors.Is(err, errAboard):
		return
	case err != nil:
		for _, part := range append(along, b) {
			t.fail(part.flights, err)
		}
		return
	}
	dirs := t.gather(b, along)
	defer sys.CloseAll(dirs)
	b.worker, b.asked = w, time.Now()
	if len(dirs) == 0 {
		t.pool.leave(b, true)
		return
	}
	w.board.Reset()
	t.mu.Lock()
	b.board = w.board
	t.mu.Unlock()
	if err := w.ask(dirs, b.requests()); err != nil {
		w.kill()
		t.land(b, nil, fmt.Errorf("ask worker: %w", err))
		return
	}
	if !t.pool.run(func() { t.fly(b) }) {
		t.land(b, nil, errClosed)
	}
}

// gather puts the flights of the others behind those of b. It returns a descriptor of each target, for the worker. Flights through a
// target that is gone have ended when it returns.
func (t *turns) gather(b *batch, along []*batch) (dirs []int) {
	parts := append([]*batch{{target: b.target, flights: b.flights}}, along...)
	b.flights = nil
	for _, part := range parts {
		dir, err := part.target.Duplicate()
		if err != nil {
			t.fail(part.flights, fmt.Errorf("ask worker: %w", err))
			continue
		}
		t.board(b, part, len(dirs))
		dirs = append(dirs, dir)
	}
	return dirs
}

// board takes the flights of a part into b, as those through its target of that number.
func (t *turns) board(b, part *batch, target int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.askers = append(b.askers, part.asker())
	for _, f := range part.flights {
		f.target, f.batch, f.item = target, b, len(b.flights)
		b.flights = append(b.flights, f)
	}
}
