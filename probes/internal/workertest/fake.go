package workertest

import (
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// name is what package worker calls its processes.
const name = "mountwarden-probe"

// RootMount is the mount that the fake arrives on when it is only asked which one a path is on.
const RootMount = 10

// Pretend is the worker when this process was started as one; ok is false when it was not. code is
// what to exit with.
func Pretend() (code int, ok bool) {
	if os.Args[0] != name {
		return 0, false
	}
	return runFake(check.Socket, check.Memory), true
}

// runFake answers batches until the agent closes the socket, and returns the exit code.
func runFake(socket, memory int) int {
	mem, err := sys.Map(memory, check.ProgressPageSize)
	if err != nil {
		return 4
	}
	f := fakeWorker{socket: socket, mem: mem, page: check.ProgressPageAt(mem)}
	f.writeMessage(check.Message{Kind: check.KindHello, Undone: check.BoundingSet})
	buf := make([]byte, check.MaxBatch+1)
	for {
		n, fds, err := sys.Receive(socket, buf, check.MaxTargets)
		if err != nil || n == 0 {
			return 0
		}
		sys.CloseAll(fds)
		batch, err := check.DecodeBatch(buf[:n])
		if err != nil {
			return 2
		}
		if code := f.fakeBatch(batch); code != 0 {
			return code
		}
	}
}

// fakeWorker is a worker that touches no file system.
type fakeWorker struct {
	socket int
	mem    []byte
	page   *check.ProgressPage
}

func (f fakeWorker) writeMessage(m check.Message) { _ = sys.Send(f.socket, m.Encode()) } // Receive notices a dead agent

// fakeBatch answers a batch. It returns the exit code of a worker that crashes, else 0.
func (f fakeWorker) fakeBatch(batch []check.Request) int {
	for i, r := range batch {
		if !f.page.Begin(i, sys.Monotonic()) {
			break
		}
		what := path.Base(r.Path)
		if strings.HasPrefix(what, "crash") {
			return 3
		}
		f.breakProtocol(what)
		f.page.Record(i, f.fakeAnswer(what, r))
	}
	f.page.End(len(batch))
	f.writeMessage(check.Message{Kind: check.KindDone})
	return 0
}

// breakProtocol does what a worker never should, and returns when nothing like that is asked for.
func (f fakeWorker) breakProtocol(what string) {
	switch {
	case strings.HasPrefix(what, "garbage"):
		_ = sys.Send(f.socket, []byte("garbage")) // the agent ends this process
		hangForever()
	case strings.HasPrefix(what, "flood"):
		for {
			f.writeMessage(check.Message{Kind: check.KindDone})
		}
	case strings.HasPrefix(what, "scribble"):
		for i := range f.mem {
			f.mem[i] = 0xff
		}
		hangForever()
	}
}

// fakeAnswer enters the stages as the real worker does, and hangs or fails where the name says so.
func (f fakeWorker) fakeAnswer(what string, r check.Request) check.Answer {
	is := func(prefix string) bool { return strings.HasPrefix(what, prefix) }
	switch {
	case is("gone"):
		return check.Answer{Stage: check.StageRoot, Errno: syscall.ESRCH}
	case is("idle"):
		hangForever()
	}
	f.page.Enter(check.StageOpen)
	switch {
	case is("walk"):
		hangForever()
	case is("amble"):
		<-time.After(300 * time.Millisecond)
	case is("stale"):
		return check.Answer{Stage: check.StageOpen, Errno: syscall.ESTALE}
	case is("absent"):
		return check.Answer{Stage: check.StageOpen, Errno: syscall.ENOENT}
	case is("moved"):
		return check.Answer{Stage: check.StageIdentify, MountID: 999, Mismatch: true}
	case r.MountID == 0 && what == "link-to-mount":
		return check.Answer{Stage: check.StageIdentify, MountID: RootMount + 1, MountRoot: true}
	case r.MountID == 0:
		return check.Answer{Stage: check.StageIdentify, MountID: RootMount, MountRoot: what == "link-to-root"}
	case is("mad"):
		return check.Answer{Stage: 99}
	}
	f.page.Enter(check.StageStatfs)
	switch {
	case is("hang"):
		hangForever()
	case is("slow"):
		<-time.After(300 * time.Millisecond)
	case is("dead"):
		return check.Answer{Stage: check.StageStatfs, Errno: syscall.ENOTCONN, MountID: r.MountID, MountRoot: true}
	}
	f.page.Enter(check.StageStatx)
	if r.CanaryFile != "" || r.CanaryDirectory != "" {
		f.page.Enter(check.StageCanary)
		return check.Answer{Stage: check.StageCanary, Errno: syscall.ENOENT, MountID: r.MountID, MountRoot: true}
	}
	return check.Answer{Stage: check.StageStatx, MountID: r.MountID, MountRoot: true}
}

func hangForever() { <-time.After(time.Hour) }
