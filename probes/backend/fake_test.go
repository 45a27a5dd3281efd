package backend

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/view"
)

const (
	patience = 30 * time.Second
	short    = 2 * time.Second // for a program that never answers: starting one takes long under the race detector
)

// The program is this binary, which pretends.
func TestMain(m *testing.M) {
	if os.Args[0] == ask.Program {
		code := pretend()
		_ = os.Stdout.Close() // the race detector takes a second to exit, which nobody is to wait for
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// pretend does what the driver or the server that is asked for is named after. Each question leaves a line in the file that /proc of the
// question names, for who counts them.
func pretend() (code int) {
	q, err := ask.ReadQuestion(os.Stdin)
	if err != nil {
		return 3
	}
	switch {
	case q.CSI != nil:
		count(q.CSI.Root.Proc, q.CSI.Driver)
		return behave(q.CSI.Driver)
	case q.Volume != nil:
		what := strings.TrimPrefix(q.Volume.Folder, volumes)
		count(q.Volume.Root.Proc, "folder "+what)
		return behave(what)
	default:
		return behave(q.NFS.Server)
	}
}

// count notes a question in the file, if that is one.
func count(file, what string) {
	if f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = fmt.Fprintln(f, what)
		_ = f.Close()
	}
}

func behave(what string) (code int) {
	say := func(a ask.Answer) int {
		text, _ := a.Encode()
		_, _ = os.Stdout.Write(text)
		return 0
	}
	name, rest, _ := strings.Cut(what, " ")
	switch name {
	case "ready":
		return say(ask.Answer{Freshness: probes.Freshness{Readiness: probes.Ready, Detail: "fine " + rest}})
	case "not-ready":
		return say(ask.Answer{Freshness: probes.Freshness{Readiness: probes.NotReady, Detail: "not now " + rest}})
	case "has": // a volume whose driver is the rest
		return say(ask.Answer{Driver: rest})
	case "unclear":
		return say(ask.Answer{Freshness: probes.Freshness{Detail: "who knows"}})
	case "slow":
		<-time.After(300 * time.Millisecond)
		return say(ask.Answer{Freshness: probes.Freshness{Readiness: probes.Ready, Detail: "at last"}})
	}
	return misbehave(name)
}

func misbehave(name string) (code int) {
	switch name {
	case "crash":
		return 2
	case "garble":
		_, _ = os.Stdout.WriteString("ready")
	case "half":
		_, _ = os.Stdout.WriteString(`{"readiness":"Ready"`)
	case "twice":
		_, _ = os.Stdout.WriteString(`{"readiness":"Ready","detail":"a"}{"readiness":"Ready","detail":"a"}`)
	case "flood":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("{", 1<<16)); err != nil {
				return 0
			}
		}
	case "mute": // hangs with its output closed
		_ = os.Stdout.Close()
		<-time.After(time.Hour)
	case "late": // its answer is complete, but it does not end
		_, _ = os.Stdout.WriteString(`{"readiness":"Ready","detail":"a"}`)
		<-time.After(time.Hour)
	case "hang":
		<-time.After(time.Hour)
	case "stuck": // as in the kernel: what holds its output outlives it, for a while
		return stick()
	case "holder":
		<-time.After(2 * short)
	}
	return 0
}

// stick leaves a process behind that holds the output, and hangs.
func stick() int {
	q, _ := ask.Question{NFS: &ask.NFS{Server: "holder"}}.Encode()
	in, out, err := os.Pipe()
	if err != nil {
		return 4
	}
	_, _ = out.Write(q)
	_ = out.Close()
	exe, err := os.Executable()
	if err != nil {
		return 4
	}
	if _, err := os.StartProcess(exe, []string{ask.Program}, &os.ProcAttr{Files: []*os.File{in, os.Stdout}}); err != nil {
		return 4
	}
	<-time.After(time.Hour)
	return 0
}

const volumes = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/"

// fakeHost sees what it is told.
type fakeHost struct {
	mu     sync.Mutex
	place  view.Place
	asked  []string
	answer func(ctx context.Context, path string) probes.Observation
}

func (h *fakeHost) Place(probes.Volume) view.Place { return h.place }

func (h *fakeHost) ProbeHost(ctx context.Context, path string, timeout time.Duration) probes.Observation {
	h.mu.Lock()
	h.asked = append(h.asked, path)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return h.answer(ctx, path)
}

func newChecker(t *testing.T, opts Options, host *fakeHost) *Checker {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	opts.Host, opts.ProgramPath = host, exe
	c, err := New(opts)
	must(t, err)
	c.desk.within = patience
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

func csi(driver string) probes.Volume {
	return probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: driver}, PodUID: "u"}
}

func nfs(server string) probes.Volume {
	return probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS, Name: server}, FSType: "nfs4", Source: server + ":/export"}
}

func expect(t *testing.T, f probes.Freshness, readiness probes.Readiness, detail string) {
	t.Helper()
	if f.Readiness != readiness || !strings.Contains(f.Detail, detail) || f.Detail == "" {
		t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, readiness, detail)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
