package worker

import (
	"net"
	"os"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// child is a worker process. One goroutine reads what it says and reaps it; whoever took the worker
// from the pool waits for a message, or until the channel is closed, and then reads the board.
type child struct {
	process   *os.Process
	conn      *net.UnixConn
	as        *Credential
	mem       []byte
	board     *check.Board       // in mem
	messages  chan check.Message // KindDone; closed when the process has been reaped
	exit      string             // how it ended; set before messages is closed
	idleSince time.Time          // guarded by the pool
	users     int                // who may still look at the board; guarded by the pool
}

// maxMessages is more than a worker may say for one batch.
const maxMessages = 2

func newChild(s spawned, as *Credential) *child {
	return &child{
		process: s.process, conn: s.conn, as: as, mem: s.mem, board: check.BoardAt(s.mem),
		messages: make(chan check.Message, maxMessages),
	}
}

// letGo is called by each user once, and gives the board back after the last.
func (w *child) letGo() {
	w.users--
	if w.users == 0 {
		sys.Unmap(w.mem)
		w.mem, w.board = nil, nil
	}
}

// ask sends a batch together with the folders of the target processes.
func (w *child) ask(dirs []int, batch []check.Request) error {
	_, _, err := w.conn.WriteMsgUnix(check.EncodeBatch(batch), sys.Rights(dirs...), nil)
	return err
}

// kill makes the worker end as soon as the kernel lets it. It never blocks. A worker of another user, which takes
// CAP_KILL, ends when it comes back and finds that nobody talks to it any more.
func (w *child) kill() {
	if w.process.Kill() != nil { // it may have ended already
		_ = w.conn.CloseWrite()
	}
}

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
