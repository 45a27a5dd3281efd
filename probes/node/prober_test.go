package node

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

func TestOneObservationForEachMountInOrder(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /a", "0:3 /b")
	pod := n.pod("/a", "/b")
	other := strings.Repeat("e", 64)
	pod.Containers = append(pod.Containers,
		probes.Container{Name: "ended", ID: other, Mounts: []probes.Mount{{Volume: "w", Path: "/c"}}},
		probes.Container{Name: "odd", ID: "x", Mounts: []probes.Mount{{Volume: "w", Path: "/d"}}},
		probes.Container{Name: "none", ID: testID},
	)
	seen := n.Probe(context.Background(), pod, patience)
	want := []probes.Target{{Container: "app", Volume: "v", Path: "/a"}, {Container: "app", Volume: "v", Path: "/b"},
		{Container: "ended", Volume: "w", Path: "/c"}, {Container: "odd", Volume: "w", Path: "/d"}}
	if len(seen) != len(want) {
		t.Fatalf("%d observations, want %d", len(seen), len(want))
	}
	for i, o := range seen {
		if o.Target != want[i] || o.Started.IsZero() || o.Finished.Before(o.Started) {
			t.Errorf("%d: %+v, want %+v", i, o, want[i])
		}
	}
	expect(t, seen[0], probes.Healthy, "", "")
	expect(t, seen[1], probes.Healthy, "", "")
	expect(t, seen[2], probes.Unknown, "", "no process of the container")
	expect(t, seen[3], probes.Unknown, "", "not a container id")
	if seen[1].Device != "0:3" || seen[1].FSType != "tmpfs" || seen[1].Source != "source" || seen[1].Operation != probes.OpStatx {
		t.Errorf("%+v", seen[1])
	}
}

func TestTableVerdicts(t *testing.T) {
	const csi = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv/mount"
	n := newFakeNode(t, Options{}, "0:2 /auto autofs", "0:3 /dev/x devtmpfs", "0:4 /early ext4 "+csi,
		"0:4 /early-sub ext4 "+csi+"/sub", "0:4 /fine ext4 "+csi+"-not", "0:5 /gone")
	for path, want := range map[string]struct {
		health probes.Health
		cause  probes.Cause
		detail string
	}{
		"/auto":         {probes.Unknown, "", "autofs"},
		"/dev/x":        {probes.Unknown, "", "device node"},
		"/early":        {probes.Broken, probes.CauseNotMounted, csi},
		"/early-sub":    {probes.Broken, probes.CauseNotMounted, csi},
		"/fine":         {probes.Healthy, "", ""},
		"/fine/":        {probes.Healthy, "", ""},
		"/plain-folder": {probes.Broken, probes.CauseNotMounted, "nothing is mounted"},
		"/absent":       {probes.Broken, probes.CauseNotMounted, "nothing is mounted"},
		"/link-to-root": {probes.Broken, probes.CauseNotMounted, "nothing is mounted"},
		"/gone":         {probes.Unknown, "", "container is gone"},
		"relative":      {probes.Unknown, "", "not absolute"},
	} {
		t.Run(path, func(t *testing.T) {
			expect(t, n.look(patience, path)[0], want.health, want.cause, want.detail)
		})
	}
}

func TestMissingProvesNothing(t *testing.T) {
	n := newFakeNode(t, Options{})
	n.write("mountinfo", "10 1 0:1 / / rw - overlay overlay rw\na line that nobody understands\n")
	expect(t, n.look(patience, "/x")[0], probes.Unknown, "", "could not be understood")
	n.write("mountinfo", "")
	expect(t, n.look(patience, "/x")[0], probes.Unknown, "", "empty")
	n.write("mountinfo", strings.Repeat("x\n", 30_000))
	expect(t, n.look(patience, "/x")[0], probes.Unknown, "", "too large")
	n.write("mountinfo", "77 76 0:1 / / rw - overlay overlay rw\n") // the worker arrives on mount 10
	expect(t, n.look(patience, "/x")[0], probes.Unknown, "", "not in the mount table")
	must(t, os.Remove(filepath.Join(n.root, "42", "mountinfo")))
	expect(t, n.look(patience, "/x")[0], probes.Unknown, "", "container is gone")
}

func TestMountsThatKeepChanging(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /moved")
	expect(t, n.look(patience, "/moved")[0], probes.Unknown, "", "changed during the look")
}

// A verdict is taken back when the container ended under it.
func TestDoubt(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /a")
	pod := n.pod("/a")
	l := newLook(n.Prober, "", patience)
	l.add(n.open(&pod.Containers[0], &tableShare{tables: n.tables}))
	s := l.volumes[0]
	s.seen.Health, s.seen.Cause = probes.Broken, probes.CauseHung
	l.doubt()
	expect(t, s.seen, probes.Broken, probes.CauseHung, "")
	n.write("status", "Name:\tapp\nState:\tZ (zombie)\n")
	l.doubt()
	expect(t, s.seen, probes.Unknown, "", "container is gone")
}

func TestProbeSelf(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /a", "0:3 /ro ext4 / ro", "0:4 /net/b nfs4")
	look := func(m probes.Mount) probes.Observation {
		t.Helper()
		return n.ProbeSelf(context.Background(), []probes.Mount{m}, patience)[0]
	}
	expect(t, look(probes.Mount{Path: "/a"}), probes.Healthy, "", "")
	folder := look(probes.Mount{Path: "/a-folder"})
	expect(t, folder, probes.Healthy, "", "")
	if folder.Device != "0:1" {
		t.Errorf("%+v", folder)
	}
	expect(t, look(probes.Mount{Path: "/absent"}), probes.Unknown, "", "no such file")
	expect(t, look(probes.Mount{Path: "/ro"}), probes.Healthy, "", "")
	canary := look(probes.Mount{Path: "/a", Canary: probes.Canary{File: "x"}})
	expect(t, canary, probes.Broken, probes.CauseCanaryFailed, "")
	if canary.ByDesign {
		t.Errorf("who asks for a canary wants it to be there: %+v", canary)
	}
	below := n.ProbeSelf(context.Background(), []probes.Mount{{Path: "/net", Expected: []probes.Expected{{Path: "b"}, {Path: "c"}}}}, patience)
	if len(below) != 3 {
		t.Fatalf("%+v", below)
	}
	expect(t, below[1], probes.Healthy, "", "")
	expect(t, below[2], probes.Broken, probes.CauseNotMounted, "declared")
	if all := n.ProbeSelf(context.Background(), []probes.Mount{{Path: "/"}, {Path: "/a"}}, patience); len(all) != 2 || all[1].Target.Path != "/a" {
		t.Errorf("%+v", all)
	}
	must(t, os.Remove(filepath.Join(n.root, "self")))
	expect(t, look(probes.Mount{Path: "/a"}), probes.Unknown, "", "find myself")
}

func TestOptionsAreChecked(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	for name, opts := range map[string]Options{"no process": {WorkerPath: exe, HostPID: -1}, "no worker": {WorkerPath: "/nowhere"}} {
		if p, err := New(opts); err == nil {
			t.Errorf("%s: accepted", name)
			must(t, p.Close(context.Background()))
		}
	}
}

// The host's process may be replaced by another of the same id: the one that is held answers for itself only.
func TestHostProcessIsReplaced(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /d fuse.x")
	n.hosts(token, "0:70 "+volume+" fuse.x")
	expect(t, n.probe(csi("/d"))[0], probes.Healthy, "", "")
	must(t, os.RemoveAll(filepath.Join(n.root, "1")))
	n.hosts(token, "0:71 "+volume+" fuse.x")
	if o := n.probe(csi("/d"))[0]; o.Warning != probes.WarningStaleGeneration {
		t.Errorf("%+v", o)
	}
}

func TestClose(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /hang", "0:3 /a")
	expect(t, n.look(time.Second, "/hang")[0], probes.Broken, probes.CauseHung, "no answer")
	must(t, n.Close(context.Background()))
	must(t, n.Close(context.Background()))
	if s := n.Stats(); s.Workers != 0 || s.InFlight != 0 || s.Parked != 0 {
		t.Errorf("left behind: %+v", s)
	}
	expect(t, n.look(patience, "/a")[0], probes.Unknown, "", "")
}
