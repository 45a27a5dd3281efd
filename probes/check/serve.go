package check

import (
	"time"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// The descriptors that a worker is started with.
const (
	Socket = 3 // its end of the socket
	Memory = 4 // the memory of its ProgressPage
)

// KeepPrivileges is the environment variable by which a worker keeps all the privileges that it
// was started with, whatever the variable's value.
const KeepPrivileges = "MOUNTWARDEN_PROBE_KEEP_PRIVILEGES"

// timerSlack is by how much the threads of a worker may oversleep, which has no timers: only Go's
// monitor thread sleeps here, and took a quarter of what a probe costs (docs/adr/0016).
const timerSlack = 10 * time.Millisecond

// Serve drops privileges, if it is to, and answers batches on a SOCK_SEQPACKET socket until the
// other end is closed, which is how a worker learns that the agent is gone. The error is one of the
// protocol.
func Serve(socket, memory int, drop bool) error {
	mem, err := sys.Map(memory, ProgressPageSize)
	sys.Close(memory)
	if err != nil {
		return err
	}
	_ = sys.RelaxTimers(timerSlack) // a failure only costs time
	s := batchServer{socket: socket, page: ProgressPageAt(mem), epoch: time.Now().Add(-sys.Monotonic())}
	hello := Message{Kind: KindHello}
	if drop {
		hello.Undone = DropPrivileges()
	}
	if err := s.sendMessage(hello); err != nil {
		return err
	}
	buf := make([]byte, MaxBatch+1)
	for {
		n, targets, err := sys.Receive(socket, buf, MaxTargets)
		if err != nil || n == 0 {
			return err
		}
		if err := s.answerBatch(buf[:n], targets); err != nil {
			return err
		}
	}
}

// batchServer answers the batches of one agent.
type batchServer struct {
	socket int
	page   *ProgressPage
	epoch  time.Time // when CLOCK_MONOTONIC was 0: to count from it takes no system call
}

func (s batchServer) sendMessage(m Message) error { return sys.Send(s.socket, m.Encode()) }

// answerBatch answers one message, and closes the targets that came with it.
func (s batchServer) answerBatch(msg []byte, targets []int) error {
	batch, err := DecodeBatch(msg)
	if err != nil || !haveTargets(batch, len(targets)) {
		return errProtocol
	}
	s.probeRequests(targets, batch)
	sys.CloseAll(targets)
	return s.sendMessage(Message{Kind: KindDone})
}

// haveTargets reports whether the target of each request is one of that many.
func haveTargets(batch []Request, targets int) bool {
	for i := range batch {
		if int(batch[i].Target) >= targets {
			return false
		}
	}
	return true
}

// probeRequests runs the probes of a batch one after the other, until it is cut.
func (s batchServer) probeRequests(targets []int, batch []Request) {
	for item := range batch {
		if !s.page.Begin(item, time.Since(s.epoch)) {
			return
		}
		p := probe{page: s.page}
		p.runStages(targets[batch[item].Target], &batch[item])
		s.page.Record(item, p.answer)
	}
	s.page.End(len(batch))
}
