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
	patience     = 30 * time.Second
	shortTimeout = 2 * time.Second // of a program that never answers; the race detector slows its start
)

// The program that is started is this test binary.
func TestMain(m *testing.M) {
	if os.Args[0] == ask.Program {
		code := runFakeProgram()
		_ = os.Stdout.Close() // the race detector takes a second to exit: do not wait for that
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

// runFakeProgram behaves as the name of the driver or server that is asked for says. Each question
// adds a line to the file that the question's /proc names, so that a test can count them.
func runFakeProgram() (code int) {
	q, err := ask.ReadQuestion(os.Stdin)
	if err != nil {
		return 3
	}
	switch {
	case q.CSI != nil:
		recordQuestion(q.CSI.Root.Proc, q.CSI.Driver)
		return runBehaviour(q.CSI.Driver)
	case q.Volume != nil:
		what := strings.TrimPrefix(q.Volume.Folder, volumes)
		recordQuestion(q.Volume.Root.Proc, "folder "+what)
		return runBehaviour(what)
	default:
		return runBehaviour(q.NFS.Server)
	}
}

// recordQuestion notes a question in the file, if that is one.
func recordQuestion(file, what string) {
	if f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		_, _ = fmt.Fprintln(f, what)
		_ = f.Close()
	}
}

func runBehaviour(what string) (code int) {
	say := func(a ask.Answer) int {
		text, _ := a.Encode()
		_, _ = os.Stdout.Write(text)
		return 0
	}
	name, rest, _ := strings.Cut(what, " ")
	switch name {
	case "ready":
		return say(ask.Answer{MountReadiness: probes.MountReadiness{Readiness: probes.Ready, Detail: "fine " + rest}})
	case "not-ready":
		return say(ask.Answer{MountReadiness: probes.MountReadiness{Readiness: probes.NotReady, Detail: "not now " + rest}})
	case "has": // a volume whose driver is the rest
		return say(ask.Answer{Driver: rest})
	case "unclear":
		return say(ask.Answer{MountReadiness: probes.MountReadiness{Detail: "who knows"}})
	case "slow":
		<-time.After(300 * time.Millisecond)
		return say(ask.Answer{MountReadiness: probes.MountReadiness{Readiness: probes.Ready, Detail: "at last"}})
	}
	return runMisbehaviour(name)
}

func runMisbehaviour(name string) (code int) {
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
		return leaveHolderBehind()
	case "holder":
		<-time.After(2 * shortTimeout)
	}
	return 0
}

// leaveHolderBehind leaves a process behind that holds the output, and hangs.
func leaveHolderBehind() int {
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

// fakeHost is a Host with fixed answers.
type fakeHost struct {
	mu     sync.Mutex
	origin view.VolumeOrigin
	asked  []string
	answer func(ctx context.Context, path string) probes.Observation
}

func (h *fakeHost) LocateVolume(probes.Volume) view.VolumeOrigin { return h.origin }

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
	c.queries.timeout = patience
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

func csiVolume(driver string) probes.Volume {
	return probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: driver}, PodUID: "u"}
}

func nfsVolume(server string) probes.Volume {
	return probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS, Name: server}, FSType: "nfs4", Source: server + ":/export"}
}

func expectReadiness(t *testing.T, f probes.MountReadiness, readiness probes.Readiness, detail string) {
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
