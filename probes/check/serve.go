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

// Serve drops privileges, if it is to, and answers batches on a SOCK_SEQPACKET socket until the other end is
// closed, which is how a worker learns that the agent is gone. The error is one of the protocol.
func Serve(socket, memory int, drop bool) error {
	mem, err := sys.Map(memory, BoardSize)
	sys.Close(memory)
	if err != nil {
		return err
	}
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
		n, target, err := sys.Receive(socket, buf)
		if err != nil || n == 0 {
			return err
		}
		if err := w.serve(buf[:n], target); err != nil {
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

func (w worker) serve(msg []byte, target int) error {
	batch, err := DecodeBatch(msg)
	if err != nil || target < 0 {
		return errProtocol
	}
	w.run(target, batch)
	sys.Close(target)
	return w.say(Message{Kind: KindDone})
}

// run makes the looks of a batch one after the other, until it is cut.
func (w worker) run(target int, batch []Request) {
	for item := range batch {
		if !w.board.Begin(item, time.Since(w.epoch)) {
			return
		}
		l := look{board: w.board}
		l.run(target, &batch[item])
		w.board.Record(item, l.answer)
	}
	w.board.End(len(batch))
}
