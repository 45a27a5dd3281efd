package check

import (
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// The descriptors that a worker is started with.
const (
	Socket = 3 // its end of the socket
	Memory = 4 // the memory of its Board
)

// KeepPrivileges is the environment variable by which a worker is told to look with all the privileges that it was started
// with, whatever its value.
const KeepPrivileges = "MOUNTWARDEN_PROBE_KEEP_PRIVILEGES"

// timerSlack is by how much the threads of a worker may oversleep, which has no timers: only Go's monitor thread sleeps here, and
// took a quarter of what a look costs (docs/adr/0016).
const timerSlack = 10 * time.Millisecond

// Serve drops privileges, if it is to, and answers batches on a SOCK_SEQPACKET socket until the other end is
// closed, which is how a worker learns that the agent is gone. The error is one of the protocol.
func Serve(socket, memory int, drop bool) error {
	mem, err := sys.Map(memory, BoardSize)
	sys.Close(memory)
	if err != nil {
		return err
	}
	_ = sys.RelaxTimers(timerSlack) // where that fails it only costs time
	w := worker{socket: socket, board: BoardAt(mem), epoch: time.Now().Add(-sys.Monotonic())}
	hello := Message{Kind: KindHello}
	if drop {
		hello.Undone = DropPrivileges()
	}
	if err := w.say(hello); err != nil {
		return err
	}
	buf := make([]byte, MaxBatch+1)
	for {
		n, targets, err := sys.Receive(socket, buf, MaxTargets)
		if err != nil || n == 0 {
			return err
		}
		if err := w.serve(buf[:n], targets); err != nil {
			return err
		}
	}
}

type worker struct {
	socket int
	board  *Board
	epoch  time.Time // when CLOCK_MONOTONIC was 0: to count from it takes no system call
}

func (w worker) say(m Message) error { return sys.Send(w.socket, m.Encode()) }

func (w worker) serve(msg []byte, targets []int) error {
	batch, err := DecodeBatch(msg)
	if err != nil || !reaches(batch, len(targets)) {
		return errProtocol
	}
	w.run(targets, batch)
	sys.CloseAll(targets)
	return w.say(Message{Kind: KindDone})
}

// reaches reports whether each of the batch has one of so many targets.
func reaches(batch []Request, targets int) bool {
	for i := range batch {
		if int(batch[i].Target) >= targets {
			return false
		}
	}
	return true
}

// run makes the looks of a batch one after the other, until it is cut.
func (w worker) run(targets []int, batch []Request) {
	for item := range batch {
		if !w.board.Begin(item, time.Since(w.epoch)) {
			return
		}
		l := look{board: w.board}
		l.run(targets[batch[item].Target], &batch[item])
		w.board.Record(item, l.answer)
	}
	w.board.End(len(batch))
}
