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
	answerTimeout    = 5 * time.Second // for a program, which gives up by itself before that, and for a slot
	hostProbeTimeout = 2 * time.Second // for a probe of the host's mount
	closeTimeout     = 5 * time.Second // for all programs to end
	answerLifetime   = time.Second     // how long an answer is reused
	maxQueries       = 1024            // pending or answered, at once
)

var errClosed = errors.New("the agent is ending")

// queryGroup answers queries, each once for all callers that ask it at the same time or within the
// next second. It differs from a singleflight.Group in three ways: an answer is reused for a while,
// a caller may give up before it, and a query whose program is stuck in the kernel stays, so that
// nobody starts another one. It is safe for concurrent use.
type queryGroup struct {
	program  string
	timeout  time.Duration
	lifetime time.Duration
	slots    chan struct{} // a program holds one while it runs
	quit     context.Context
	end      context.CancelFunc

	mu       sync.Mutex
	queries  map[string]*query
	children map[*child]struct{}
	closed   bool
	running  int           // goroutines of queries
	drained  chan struct{} // closed when closed is set and running is 0
}

// query is a question that is pending, or was answered a moment ago.
type query struct {
	answered chan struct{} // closed when answer is set
	answer   ask.Answer
	expires  time.Time // when the answer is dropped; guarded by the queryGroup
	busy     bool      // its program or call has not ended yet; guarded by the queryGroup
}

func newQueryGroup(path string, maxPrograms int) *queryGroup {
	quit, end := context.WithCancel(context.Background())
	return &queryGroup{
		program: path, timeout: answerTimeout, lifetime: answerLifetime, slots: make(chan struct{}, maxPrograms), quit: quit, end: end,
		queries: map[string]*query{}, children: map[*child]struct{}{}, drained: make(chan struct{}),
	}
}

// askProgram has a program answer the question.
func (g *queryGroup) askProgram(ctx context.Context, q ask.Question) ask.Answer {
	text, err := q.Encode()
	if err != nil {
		return newFailure(err)
	}
	return g.joinQuery(ctx, string(text), func(shared *query) { g.runProgram(shared, text) })
}

// shareCall has f answer. f must return soon after its context ends.
func (g *queryGroup) shareCall(ctx context.Context, key string, f func(context.Context) ask.Answer) ask.Answer {
	return g.joinQuery(ctx, key, func(q *query) { g.publishAnswer(q, f(g.quit)) })
}

// joinQuery waits for the answer to the query with the key. If there is no such query, it starts
// one: work then runs in the background and must publish the answer.
func (g *queryGroup) joinQuery(ctx context.Context, key string, work func(*query)) ask.Answer {
	q, err := g.findQuery(key, work)
	if err != nil {
		return newFailure(err)
	}
	select {
	case <-q.answered:
		return q.answer
	case <-ctx.Done():
		return newFailure(fmt.Errorf("the answer was not waited for: %w", ctx.Err()))
	}
}

func newFailure(err error) ask.Answer { return ask.Answer{MountReadiness: newUnclear(err.Error())} }

// findQuery returns the query with the key, or starts it.
func (g *queryGroup) findQuery(key string, work func(*query)) (*query, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.dropExpired(now)
	if q := g.queries[key]; q != nil {
		return q, nil
	}
	switch {
	case g.closed:
		return nil, errClosed
	case len(g.queries) >= maxQueries:
		return nil, fmt.Errorf("%d questions to backends are open, as many as may be", maxQueries)
	}
	q := &query{answered: make(chan struct{}), busy: true}
	g.queries[key] = q
	g.running++
	go func() {
		defer g.finishQuery(q)
		work(q)
	}()
	return q, nil
}

// dropExpired drops answers that are too old. A query whose program is still stuck stays: asking
// again would only add another stuck program.
func (g *queryGroup) dropExpired(now time.Time) {
	for key, q := range g.queries {
		if !q.busy && now.After(q.expires) {
			delete(g.queries, key)
		}
	}
}

// publishAnswer gives the answer to all who wait for it.
func (g *queryGroup) publishAnswer(q *query, a ask.Answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.answer, q.expires = a, time.Now().Add(g.lifetime)
	close(q.answered)
}

func (g *queryGroup) finishQuery(q *query) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q.busy = false
	g.running--
	if g.closed && g.running == 0 {
		close(g.drained)
	}
}

// close kills all programs and waits until they have ended.
func (g *queryGroup) close(ctx context.Context) error {
	g.startClosing()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	select {
	case <-g.drained:
		return nil
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		return fmt.Errorf("close the backend checker: %d questions are still under way, inside the kernel: %w", g.running, ctx.Err())
	}
}

func (g *queryGroup) startClosing() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		g.end()
		if g.running == 0 {
			close(g.drained)
		}
	}
	for c := range g.children {
		c.kill()
	}
}
