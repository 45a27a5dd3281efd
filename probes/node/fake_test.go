package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/internal/workertest"
)

const patience = 30 * time.Second

// The worker that is started is this test binary.
func TestMain(m *testing.M) {
	if code, ok := workertest.Pretend(); ok {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}

const testID = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// fakeNode is a /proc with one container, 42, and a prober that sees it.
type fakeNode struct {
	*Prober
	t    testing.TB
	root string
}

func newFakeNode(t testing.TB, opts Options, mountinfo ...string) *fakeNode {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	n := &fakeNode{t: t, root: t.TempDir()}
	opts.WorkerPath, opts.ProcRoot = exe, n.root
	must(t, os.MkdirAll(filepath.Join(n.root, "42"), 0o755))
	must(t, os.Symlink("42", filepath.Join(n.root, "self")))
	n.writeFile("status", "Name:\tapp\nState:\tS (sleeping)\n")
	n.writeFile("cgroup", "0::/kubepods/"+testID+"\n")
	n.writeTable(mountinfo...)
	n.Prober, err = New(opts)
	must(t, err)
	n.hostTables.pauseFactor, n.hostTables.maxAge = 0, 0 // plain files report no change to poll
	t.Cleanup(func() { must(t, n.Close(context.Background())) })
	n.probePaths(patience, "/absent") // start a worker, which takes long under the race detector
	return n
}

// writeTable writes the table: the root, and lines of "major:minor mountpoint fstype root
// superoptions propagation".
func (n *fakeNode) writeTable(lines ...string) {
	n.t.Helper()
	n.writeFile("mountinfo", makeTable("0:1", lines...))
}

// writeHostTable writes the host's table, whose root is 8:1. Without it nothing is known of the
// host.
func (n *fakeNode) writeHostTable(lines ...string) {
	n.t.Helper()
	dir := filepath.Join(n.root, "1")
	must(n.t, os.MkdirAll(dir, 0o755))
	must(n.t, os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tinit\nState:\tS (sleeping)\n"), 0o600))
	must(n.t, os.WriteFile(filepath.Join(dir, "mountinfo"), []byte(makeTable("8:1", lines...)), 0o600))
}

// makeTable makes each line a mount on the one before whose mount point is above.
func makeTable(root string, lines ...string) string {
	text := fmt.Sprintf("%d 1 %s / / rw - ext4 disk rw\n", workertest.RootMount, root)
	points := []string{"/"}
	for i, line := range lines {
		f := strings.Fields(line)
		f = append(f, []string{"", "", "tmpfs", "/", "rw", ""}[len(f):]...)
		parent := 0
		for j, point := range points {
			if len(point) >= len(points[parent]) && probes.Below(f[1], point) {
				parent = j
			}
		}
		points = append(points, f[1])
		if f[5] != "" {
			f[5] += " "
		}
		text += fmt.Sprintf("%d %d %s %s %s rw %s- %s source %s\n", workertest.RootMount+1+i, workertest.RootMount+parent, f[0], f[3], f[1], f[5], f[2], f[4])
	}
	return text
}

func (n *fakeNode) writeFile(name, text string) {
	n.t.Helper()
	must(n.t, os.WriteFile(filepath.Join(n.root, "42", name), []byte(text), 0o600))
}

func (n *fakeNode) newPod(paths ...string) probes.Pod {
	c := probes.Container{Name: "app", ID: testID}
	for _, path := range paths {
		c.Mounts = append(c.Mounts, probes.Mount{Volume: "v", Path: path})
	}
	return probes.Pod{Containers: []probes.Container{c}}
}

func (n *fakeNode) probePaths(timeout time.Duration, paths ...string) []probes.Observation {
	n.t.Helper()
	seen := n.Probe(context.Background(), n.newPod(paths...), timeout)
	if len(seen) != len(paths) {
		n.t.Fatalf("%d observations of %d mounts", len(seen), len(paths))
	}
	return seen
}

func expectObservation(t testing.TB, o probes.Observation, health probes.Health, cause probes.Cause, detail string) {
	t.Helper()
	if o.Health != health || o.Cause != cause || !strings.Contains(o.Detail, detail) {
		t.Errorf("got %s/%s %q, want %s/%s %q", o.Health, o.Cause, o.Detail, health, cause, detail)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
