package backend

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

const (
	answerWithin = 5 * time.Second // for a program, which gives up by itself before that, and for a turn
	lookWithin   = 2 * time.Second // for a look at the host's mount
	closeWithin  = 5 * time.Second // for all programs to end
	keepFor      = time.Second     // an answer
	maxQuestions = 1024            // that are known at once
)

var errClosed = errors.New("the agent is ending")

// desk takes questions, and has each answered once for all who ask it at the same time. It is safe for concurrent use.
type desk struct {
	path   string
	within time.Duration
	keep   time.Duration
	turns  chan struct{} // one token for each program
	quit   context.Context
	end    context.CancelFunc

	mu        sync.Mutex
	questions map[string]*question
	children  map[*child]struct{}
	closed    bool
	running   int           // goroutines
	drained   chan struct{} // closed when closed is set and running is 0
}

// question is one that is being asked, or was a moment ago.
type question struct {
	answered chan struct{} // closed when answer is set
	answer   ask.Answer
	until    time.Time // the answer serves until then; guarded by the desk
	busy     bool      // its program or look has not ended yet; guarded by the desk
}

func newDesk(path string, active int) *desk {
	quit, end := context.WithCancel(context.Background())
	return &desk{
		path: path, within: answerWithin, keep: keepFor, turns: make(chan struct{}, active), quit: quit, end: end,
		questions: map[string]*question{}, children: map[*child]struct{}{}, drained: make(chan struct{}),
	}
}

// ask has a program answer.
func (d *desk) ask(ctx context.Context, q ask.Question) ask.Answer {
	text, err := q.Encode()
	if err != nil {
		return failed(err)
	}
	return d.join(ctx, string(text), func(asked *question) { d.run(asked, text) })
}

// share has f answer, which must return soon after its context ends.
func (d *desk) share(ctx context.Context, key string, f func(context.Context) ask.Answer) ask.Answer {
	return d.join(ctx, key, func(asked *question) { d.tell(asked, f(d.quit)) })
}

// join waits for the answer to the question, which work gives with tell, in the background, if nobody is at it.
func (d *desk) join(ctx context.Context, key string, work func(*question)) ask.Answer {
	asked, err := d.find(key, work)
	if err != nil {
		return failed(err)
	}
	select {
	case <-asked.answered:
		return asked.answer
	case <-ctx.Done():
		return failed(fmt.Errorf("the answer was not waited for: %w", ctx.Err()))
	}
}

func failed(err error) ask.Answer { return ask.Answer{Freshness: unclear(err.Error())} }

// find returns the question as it is being asked, or asks it.
func (d *desk) find(key string, work func(*question)) (*question, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.forget(now)
	if asked := d.questions[key]; asked != nil {
		return asked, nil
	}
	switch {
	case d.closed:
		return nil, errClosed
	case len(d.questions) >= maxQuestions:
		return nil, fmt.Errorf("%d questions to backends are open, as many as may be", maxQuestions)
	}
	asked := &question{answered: make(chan struct{}), busy: true}
	d.questions[key] = asked
	d.running++
	go func() {
		defer d.ended(asked)
		work(asked)
	}()
	return asked, nil
}

// forget drops answers that are too old. One whose program is still stuck stays: to ask again would only have one more stuck.
func (d *desk) forget(now time.Time) {
	for key, asked := range d.questions {
		if !asked.busy && now.After(asked.until) {
			delete(d.questions, key)
		}
	}
}

// tell gives everybody the answer.
func (d *desk) tell(asked *question, a ask.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked.answer, asked.until = a, time.Now().Add(d.keep)
	close(asked.answered)
}

func (d *desk) ended(asked *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked.busy = false
	d.running--
	if d.closed && d.running == 0 {
		close(d.drained)
	}
}

// close ends all and waits for it.
func (d *desk) close(ctx context.Context) error {
	d.shut()
	ctx, cancel := context.WithTimeout(ctx, closeWithin)
	defer cancel()
	select {
	case <-d.drained:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		return fmt.Errorf("close the backend checker: %d questions are still under way, inside the kernel: %w", d.running, ctx.Err())
	}
}

func (d *desk) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		d.end()
		if d.running == 0 {
			close(d.drained)
		}
	}
	for c := range d.children {
		c.kill()
	}
}
