package worker

import (
	"net"
	"os"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// workerProcess is a worker. One goroutine reads its messages and reaps it; whoever took the
// worker from the pool waits for a message, or until the channel is closed, and then reads the
// page.
type workerProcess struct {
	process   *os.Process
	conn      *net.UnixConn
	as        *Credential
	mem       []byte
	page      *check.ProgressPage // in mem
	messages  chan check.Message  // KindDone; closed when the process has been reaped
	exit      string              // how it ended; set before messages is closed
	idleSince time.Time           // guarded by the pool
	refs      int                 // who may still read the page; guarded by the pool
}

// maxMessages is more than a worker may say for one batch.
const maxMessages = 2

func newWorkerProcess(s spawnResult, as *Credential) *workerProcess {
	return &workerProcess{
		process: s.process, conn: s.conn, as: as, mem: s.mem, page: check.ProgressPageAt(s.mem),
		messages: make(chan check.Message, maxMessages),
	}
}

// unref is called once by each user, and unmaps the page after the last.
func (w *workerProcess) unref() {
	w.refs--
	if w.refs == 0 {
		sys.Unmap(w.mem)
		w.mem, w.page = nil, nil
	}
}

// sendBatch sends the requests together with the directories of the target processes.
func (w *workerProcess) sendBatch(dirs []int, batch []check.Request) error {
	_, _, err := w.conn.WriteMsgUnix(check.EncodeBatch(batch), sys.Rights(dirs...), nil)
	return err
}

// killProcess makes the worker end as soon as the kernel lets it. It never blocks. To kill a
// worker of another user takes CAP_KILL; without it, the worker ends when it returns and finds its
// socket closed.
func (w *workerProcess) killProcess() {
	if w.process.Kill() != nil { // it may have ended already
		_ = w.conn.CloseWrite()
	}
}

// readMessages delivers what the worker says until its socket is closed, which the kernel does
// when the process ends. Only then does it wait for the process, so that no thread is ever blocked
// in wait(2).
func (w *workerProcess) readMessages(hello func(check.Message)) {
	buf := make([]byte, check.MessageSize+1)
	for {
		n, err := w.conn.Read(buf)
		if err != nil {
			break
		}
		m, err := check.DecodeMessage(buf[:n])
		switch {
		case err != nil:
			w.killProcess()
		case m.Kind == check.KindHello:
			hello(m)
		default:
			w.deliverMessage(m)
		}
	}
	w.reapProcess()
}

// deliverMessage hands a message to the goroutine that runs the batch.
func (w *workerProcess) deliverMessage(m check.Message) {
	select {
	case w.messages <- m:
	default:
		w.killProcess() // it says more than the protocol allows
	}
}

// reapProcess waits for a worker that has closed its socket, and records how it ended.
func (w *workerProcess) reapProcess() {
	w.killProcess()
	_ = w.conn.Close() // the other end is closed
	if state, err := w.process.Wait(); err != nil {
		w.exit = err.Error()
	} else {
		w.exit = state.String()
	}
	close(w.messages)
}
