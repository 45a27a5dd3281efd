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

// Pretend is the worker when this process was started as one; ok is false when it was not. The code is
// that to exit with.
func Pretend() (code int, ok bool) {
	if os.Args[0] != name {
		return 0, false
	}
	return pretend(check.Socket, check.Memory), true
}

func pretend(socket, memory int) int {
	mem, err := sys.Map(memory, check.ProgressPageSize)
	if err != nil {
		return 4
	}
	f := fake{socket: socket, mem: mem, page: check.ProgressPageAt(mem)}
	f.say(check.Message{Kind: check.KindHello, Undone: check.BoundingSet})
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
		if code := f.serve(batch); code != 0 {
			return code
		}
	}
}

type fake struct {
	socket int
	mem    []byte
	page   *check.ProgressPage
}

func (f fake) say(m check.Message) { _ = sys.Send(f.socket, m.Encode()) } // an agent that is gone is noticed by Receive

// serve returns the exit code of a fake that crashes, else 0.
func (f fake) serve(batch []check.Request) int {
	for i, r := range batch {
		if !f.page.Begin(i, sys.Monotonic()) {
			break
		}
		what := path.Base(r.Path)
		if strings.HasPrefix(what, "crash") {
			return 3
		}
		f.misbehave(what)
		f.page.Record(i, f.look(what, r))
	}
	f.page.End(len(batch))
	f.say(check.Message{Kind: check.KindDone})
	return 0
}

// misbehave does what a worker never should, and returns when nothing like that is asked for.
func (f fake) misbehave(what string) {
	switch {
	case strings.HasPrefix(what, "garbage"):
		_ = sys.Send(f.socket, []byte("garbage")) // the agent ends this process
		hang()
	case strings.HasPrefix(what, "flood"):
		for {
			f.say(check.Message{Kind: check.KindDone})
		}
	case strings.HasPrefix(what, "scribble"):
		for i := range f.mem {
			f.mem[i] = 0xff
		}
		hang()
	}
}

func (f fake) look(what string, r check.Request) check.Answer {
	is := func(prefix string) bool { return strings.HasPrefix(what, prefix) }
	switch {
	case is("gone"):
		return check.Answer{Stage: check.StageRoot, Errno: syscall.ESRCH}
	case is("idle"):
		hang()
	}
	f.page.Enter(check.StageOpen)
	switch {
	case is("walk"):
		hang()
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
		hang()
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

func hang() { <-time.After(time.Hour) }
