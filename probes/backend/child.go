package backend

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// child is a program that answers one question.
type child struct {
	process *os.Process
	in, out *os.File // our ends of its standard input and output
}

// run has a program of its own answer, in its turn, and comes back when that has ended. The answer is told long before that when the
// program is stuck in the kernel.
func (d *desk) run(asked *question, text []byte) {
	turn := time.NewTimer(d.within)
	defer turn.Stop()
	select {
	case d.turns <- struct{}{}:
		defer func() { <-d.turns }()
	case <-turn.C:
		d.tell(asked, failed(fmt.Errorf("all %d programs that ask backends are busy for %s already", cap(d.turns), d.within)))
		return
	case <-d.quit.Done():
		d.tell(asked, failed(errClosed))
		return
	}
	c, err := start(d.path)
	if err != nil {
		d.tell(asked, failed(fmt.Errorf("start %q: %w", d.path, err)))
		return
	}
	d.keepTrack(c)
	a, err := c.answer(text, d.within)
	switch {
	case err != nil && d.quit.Err() != nil: // it was killed
		a = failed(errClosed)
	case err != nil:
		a = failed(fmt.Errorf("the program that asks backends: %w", err))
	}
	d.tell(asked, a)
	c.end()
	d.loseTrack(c)
}

// keepTrack notes a child for close, which may have come before.
func (d *desk) keepTrack(c *child) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.children[c] = struct{}{}
	if d.closed {
		c.kill()
	}
}

func (d *desk) loseTrack(c *child) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.children, c)
}

// start starts the program with no environment but what keeps it small, no files, and no folder. It does not die with the agent, but soon
// after, by itself.
func start(path string) (*child, error) {
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

// answer asks and waits for the answer's end.
func (c *child) answer(text []byte, within time.Duration) (ask.Answer, error) {
	deadline := time.Now().Add(within)
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
		return ask.Answer{}, fmt.Errorf("no answer within %s", within)
	case errors.Is(err, io.EOF):
		return ask.Answer{}, errors.New("it has ended without an answer")
	}
	return a, err
}

// kill makes the program end as soon as the kernel lets it. It never blocks.
func (c *child) kill() { _ = c.process.Kill() } // it may have ended already

// end kills and reaps the program. It waits in the poller until the kernel has closed the program's output, as it does at the process's
// end; only then for the process, so that no thread is ever blocked in wait(2).
func (c *child) end() {
	c.kill()
	_ = c.in.Close() // again, if the question was taken
	if c.out.SetReadDeadline(time.Time{}) == nil {
		_, _ = io.Copy(io.Discard, c.out) // what comes too late
	}
	_ = c.out.Close()
	_, _ = c.process.Wait() // it was killed
}
