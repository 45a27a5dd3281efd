package worker

import (
	"net"
	"os"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// child is a worker process. One goroutine reads what it says and reaps it; whoever took the worker
// from the pool reads messages until the answer, or until the channel is closed.
type child struct {
	process   *os.Process
	conn      *net.UnixConn
	messages  chan check.Message // closed when the process has been reaped
	exit      string             // how it ended; set before messages is closed
	idleSince time.Time          // guarded by the pool
}

// maxMessages is more than a worker may say for one request: a stage each, and the answer.
const maxMessages = 16

func newChild(s spawned) *child {
	return &child{process: s.process, conn: s.conn, messages: make(chan check.Message, maxMessages)}
}

// ask sends a request together with the folder of the target process.
func (w *child) ask(target *proc.Process, r check.Request) error {
	return target.Hand(func(dir int) error {
		_, _, err := w.conn.WriteMsgUnix(r.Encode(), sys.Rights(dir), nil)
		return err
	})
}

// kill makes the worker end as soon as the kernel lets it. It never blocks.
func (w *child) kill() { _ = w.process.Kill() } // an error means that it has ended already

// read passes on what the worker says until its socket is closed, which the kernel does when the
// process ends; only then does it wait for it, so that no thread is ever blocked in wait(2).
func (w *child) read(hello func(check.Message)) {
	buf := make([]byte, check.MessageSize+1)
	for {
		n, err := w.conn.Read(buf)
		if err != nil {
			break
		}
		m, err := check.DecodeMessage(buf[:n])
		switch {
		case err != nil:
			w.kill()
		case m.Kind == check.KindHello:
			hello(m)
		default:
			w.deliver(m)
		}
	}
	w.reap()
}

func (w *child) deliver(m check.Message) {
	select {
	case w.messages <- m:
	default:
		w.kill() // it says more than the protocol allows
	}
}

func (w *child) reap() {
	w.kill()
	_ = w.conn.Close() // the other end is closed
	if state, err := w.process.Wait(); err != nil {
		w.exit = err.Error()
	} else {
		w.exit = state.String()
	}
	close(w.messages)
}
