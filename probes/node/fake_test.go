package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const patience = 30 * time.Second

// The fake worker is this binary, started by the real spawner under the worker's name. It speaks the
// real protocol, and the path that it is asked for tells it what to pretend.
func TestMain(m *testing.M) {
	if os.Args[0] == workerName {
		os.Exit(pretend(check.Socket))
	}
	goleak.VerifyTestMain(m)
}

// rootMount is the mount that the fake worker arrives on where a path has none of its own.
const rootMount = 10

func pretend(socket int) int {
	say := func(m check.Message) { _ = sys.Send(socket, m.Encode()) } // an agent that is gone is noticed by Receive
	say(check.Message{Kind: check.Hello, Undone: check.BoundingSet})
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
		what := filepath.Base(r.Path)
		say(check.Message{Kind: check.Progress, Stage: check.StageRoot})
		switch {
		case strings.HasPrefix(what, "crash"):
			return 3
		case strings.HasPrefix(what, "garbage"):
			_ = sys.Send(socket, []byte("garbage"))
			select {}
		case strings.HasPrefix(what, "flood"):
			for {
				say(check.Message{Kind: check.Progress})
			}
		case strings.HasPrefix(what, "gone"):
			say(check.Message{Kind: check.Answer, Stage: check.StageRoot, Errno: syscall.ESRCH})
			continue
		case strings.HasPrefix(what, "idle"):
			hang()
		}
		say(check.Message{Kind: check.Progress, Stage: check.StageOpen})
		switch {
		case strings.HasPrefix(what, "walk"):
			hang()
		case strings.HasPrefix(what, "absent"):
			say(check.Message{Kind: check.Answer, Stage: check.StageOpen, Errno: syscall.ENOENT})
			continue
		case strings.HasPrefix(what, "moved"):
			say(check.Message{Kind: check.Answer, Stage: check.StageIdentify, MountID: 999, Mismatch: true})
			continue
		case r.MountID == 0:
			say(check.Message{Kind: check.Answer, Stage: check.StageIdentify, MountID: rootMount, MountRoot: what == "link-to-root"})
			continue
		}
		say(check.Message{Kind: check.Progress, Stage: check.StageStatfs})
		switch {
		case strings.HasPrefix(what, "hang"):
			hang()
		case strings.HasPrefix(what, "slow"):
			<-time.After(300 * time.Millisecond)
		}
		say(check.Message{Kind: check.Progress, Stage: check.StageStatx})
		say(check.Message{Kind: check.Answer, Stage: check.StageStatx, MountID: r.MountID, MountRoot: true})
	}
}

func hang() { <-time.After(time.Hour) }

const testID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// fakeNode is a /proc with one container, 42, and a prober that sees it.
type fakeNode struct {
	*Prober
	t    *testing.T
	root string
}

func newFakeNode(t *testing.T, opts Options, mountinfo ...string) *fakeNode {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	n := &fakeNode{t: t, root: t.TempDir()}
	opts.WorkerPath, opts.ProcRoot = exe, n.root
	must(t, os.MkdirAll(filepath.Join(n.root, "42"), 0o755))
	must(t, os.Symlink("42", filepath.Join(n.root, "self")))
	n.write("stat", "42 (app) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 50 20 21 22\n")
	n.write("cgroup", "0::/kubepods/"+testID+"\n")
	n.mounts(mountinfo...)
	n.Prober, err = New(opts)
	must(t, err)
	t.Cleanup(func() { must(t, n.Close(context.Background())) })
	n.look(patience, "/absent") // a first worker has started, which takes long under the race detector
	return n
}

// mounts writes the table: the root, and lines of "major:minor mountpoint fstype root".
func (n *fakeNode) mounts(lines ...string) {
	n.t.Helper()
	text := fmt.Sprintf("%d 1 0:1 / / rw - overlay overlay rw\n", rootMount)
	for i, line := range lines {
		f := append(strings.Fields(line), "tmpfs", "/")
		text += fmt.Sprintf("%d %d %s %s %s rw - %s source rw\n", rootMount+1+i, rootMount, f[0], f[3], f[1], f[2])
	}
	n.write("mountinfo", text)
}

func (n *fakeNode) write(name, text string) {
	n.t.Helper()
	must(n.t, os.WriteFile(filepath.Join(n.root, "42", name), []byte(text), 0o600))
}

func (n *fakeNode) pod(paths ...string) probes.Pod {
	c := probes.Container{Name: "app", ID: testID}
	for _, path := range paths {
		c.Mounts = append(c.Mounts, probes.Mount{Volume: "v", Path: path})
	}
	return probes.Pod{Containers: []probes.Container{c}}
}

func (n *fakeNode) look(timeout time.Duration, paths ...string) []probes.Observation {
	n.t.Helper()
	seen := n.Probe(context.Background(), n.pod(paths...), timeout)
	if len(seen) != len(paths) {
		n.t.Fatalf("%d observations of %d mounts", len(seen), len(paths))
	}
	return seen
}

func expect(t *testing.T, o probes.Observation, health probes.Health, cause probes.Cause, detail string) {
	t.Helper()
	if o.Health != health || o.Cause != cause || !strings.Contains(o.Detail, detail) {
		t.Errorf("got %s/%s %q, want %s/%s %q", o.Health, o.Cause, o.Detail, health, cause, detail)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("still not: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stop ends the idle workers.
func (n *fakeNode) stop() {
	n.t.Helper()
	n.pool.mu.Lock()
	for w := range n.pool.workers {
		w.kill()
	}
	n.pool.mu.Unlock()
	eventually(n.t, "no worker is left", func() bool { return n.Stats().Workers == 0 })
}
