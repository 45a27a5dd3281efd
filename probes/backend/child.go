package backend

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// child is a process that answers one question.
type child struct {
	process *os.Process
	in, out *os.File // this process's ends of its standard input and output
}

// runProgram waits for a slot, has a program answer the query, and returns when the program has
// ended. The answer is published before that, as the program may be stuck in the kernel.
func (g *queryGroup) runProgram(q *query, text []byte) {
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-timer.C:
		g.publishAnswer(q, newFailure(fmt.Errorf("all %d programs that ask backends are busy for %s already", cap(g.slots), g.timeout)))
		return
	case <-g.quit.Done():
		g.publishAnswer(q, newFailure(errClosed))
		return
	}
	c, err := startProgram(g.program)
	if err != nil {
		g.publishAnswer(q, newFailure(fmt.Errorf("start %q: %w", g.program, err)))
		return
	}
	g.trackChild(c)
	a, err := c.askQuestion(text, g.timeout)
	switch {
	case err != nil && g.quit.Err() != nil: // it was killed
		a = newFailure(errClosed)
	case err != nil:
		a = newFailure(fmt.Errorf("the program that asks backends: %w", err))
	}
	g.publishAnswer(q, a)
	c.killAndReap()
	g.untrackChild(c)
}

// trackChild notes a child for close to kill. If close came before, the child is killed here.
func (g *queryGroup) trackChild(c *child) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.children[c] = struct{}{}
	if g.closed {
		c.kill()
	}
}

func (g *queryGroup) untrackChild(c *child) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.children, c)
}

// startProgram starts the program without open files, and with an environment that only keeps it
// small. It does not die with the agent, but soon after, by itself.
func startProgram(path string) (*child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }() // nothing was written
	stdin, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdin.Close() }() // the program has its own copy
	out, stdout, err := os.Pipe()
	if err != nil {
		_ = in.Close() // nothing was written
		return nil, err
	}
	defer func() { _ = stdout.Close() }()
	process, err := os.StartProcess(path, []string{ask.Program}, &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0"}, Files: []*os.File{stdin, stdout, null},
	})
	if err != nil {
		return nil, errors.Join(err, in.Close(), out.Close())
	}
	return &child{process: process, in: in, out: out}, nil
}

// askQuestion writes the question and reads the complete answer.
func (c *child) askQuestion(text []byte, timeout time.Duration) (ask.Answer, error) {
	deadline := time.Now().Add(timeout)
	if err := errors.Join(c.in.SetWriteDeadline(deadline), c.out.SetReadDeadline(deadline)); err != nil {
		return ask.Answer{}, err
	}
	if _, err := c.in.Write(text); err != nil {
		return ask.Answer{}, fmt.Errorf("it takes no question: %w", err)
	}
	if err := c.in.Close(); err != nil {
		return ask.Answer{}, fmt.Errorf("it takes no question: %w", err)
	}
	a, err := ask.ReadAnswer(c.out)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ask.Answer{}, fmt.Errorf("no answer within %s", timeout)
	case errors.Is(err, io.EOF):
		return ask.Answer{}, errors.New("it has ended without an answer")
	}
	return a, err
}

// kill sends SIGKILL. It never blocks: the program ends as soon as the kernel lets it.
func (c *child) kill() { _ = c.process.Kill() } // it may have ended already

// killAndReap waits in Go's poller until the kernel has closed the program's output, which it does
// when the process ends. Only then does it wait for the process, so that no thread is ever blocked
// in wait(2).
func (c *child) killAndReap() {
	c.kill()
	_ = c.in.Close() // closed already, if the question was written
	if c.out.SetReadDeadline(time.Time{}) == nil {
		_, _ = io.Copy(io.Discard, c.out) // a late answer
	}
	_ = c.out.Close()
	_, _ = c.process.Wait() // it was killed
}
