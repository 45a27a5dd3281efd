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

// name is what the real spawner calls its processes.
const name = "mountwarden-probe"

// RootMount is the mount that the fake arrives on when it is only asked which one a path is on.
const RootMount = 10

// Pretend is the worker when this process was started as one; ok is false when it was not. The code is
// that to exit with.
func Pretend() (code int, ok bool) {
	if os.Args[0] != name {
		return 0, false
	}
	return pretend(check.Socket), true
}

func pretend(socket int) int {
	f := fake{socket}
	f.say(check.Message{Kind: check.KindHello, Undone: check.BoundingSet})
	buf := make([]byte, 2*check.MaxPath)
	for {
		n, fd, err := sys.Receive(socket, buf)
		if err != nil || n == 0 {
			return 0
		}
		sys.Close(fd)
		r, err := check.DecodeRequest(buf[:n])
		if err != nil {
			return 2
		}
		if code := f.play(path.Base(r.Path), r); code != 0 {
			return code
		}
	}
}

type fake struct{ socket int }

func (f fake) say(m check.Message) { _ = sys.Send(f.socket, m.Encode()) } // an agent that is gone is noticed by Receive

func (f fake) begin(s check.Stage) {
	f.say(check.Message{Kind: check.KindProgress, Answer: check.Answer{Stage: s}})
}

// play returns the exit code of a fake that crashes, else 0.
func (f fake) play(what string, r check.Request) int {
	is := func(prefix string) bool { return strings.HasPrefix(what, prefix) }
	f.begin(check.StageRoot)
	switch {
	case is("crash"):
		return 3
	case is("garbage"):
		_ = sys.Send(f.socket, []byte("garbage")) // the agent ends this process
		hang()
	case is("flood"):
		for {
			f.begin(check.StageRoot)
		}
	case is("gone"):
		f.answer(check.Answer{Stage: check.StageRoot, Errno: syscall.ESRCH})
		return 0
	case is("idle"):
		hang()
	}
	f.begin(check.StageOpen)
	switch {
	case is("walk"):
		hang()
	case is("absent"):
		f.answer(check.Answer{Stage: check.StageOpen, Errno: syscall.ENOENT})
		return 0
	case is("moved"):
		f.answer(check.Answer{Stage: check.StageIdentify, MountID: 999, Mismatch: true})
		return 0
	case r.MountID == 0:
		f.answer(check.Answer{Stage: check.StageIdentify, MountID: RootMount, MountRoot: what == "link-to-root"})
		return 0
	}
	f.begin(check.StageStatfs)
	switch {
	case is("hang"):
		hang()
	case is("slow"):
		<-time.After(300 * time.Millisecond)
	}
	f.begin(check.StageStatx)
	f.answer(check.Answer{Stage: check.StageStatx, MountID: r.MountID, MountRoot: true})
	return 0
}

func (f fake) answer(a check.Answer) { f.say(check.Message{Kind: check.KindAnswer, Answer: a}) }

func hang() { <-time.After(time.Hour) }
