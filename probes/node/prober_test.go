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
	pod := n.newPod("/a", "/b")
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
	expectObservation(t, seen[0], probes.Healthy, "", "")
	expectObservation(t, seen[1], probes.Healthy, "", "")
	expectObservation(t, seen[2], probes.Unknown, "", "no process of the container")
	expectObservation(t, seen[3], probes.Unknown, "", "not a container id")
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
			expectObservation(t, n.probePaths(patience, path)[0], want.health, want.cause, want.detail)
		})
	}
}

func TestMissingProvesNothing(t *testing.T) {
	n := newFakeNode(t, Options{})
	n.writeFile("mountinfo", "10 1 0:1 / / rw - overlay overlay rw\na line that nobody understands\n")
	expectObservation(t, n.probePaths(patience, "/x")[0], probes.Unknown, "", "could not be understood")
	n.writeFile("mountinfo", "")
	expectObservation(t, n.probePaths(patience, "/x")[0], probes.Unknown, "", "empty")
	n.writeFile("mountinfo", strings.Repeat("x\n", 30_000))
	expectObservation(t, n.probePaths(patience, "/x")[0], probes.Unknown, "", "too large")
	n.writeFile("mountinfo", "77 76 0:1 / / rw - overlay overlay rw\n") // the worker arrives on mount 10
	expectObservation(t, n.probePaths(patience, "/x")[0], probes.Unknown, "", "not in the mount table")
	must(t, os.Remove(filepath.Join(n.root, "42", "mountinfo")))
	expectObservation(t, n.probePaths(patience, "/x")[0], probes.Unknown, "", "container is gone")
}

func TestMountsThatKeepChanging(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /moved")
	expectObservation(t, n.probePaths(patience, "/moved")[0], probes.Unknown, "", "changed during the look")
}

// A broken target becomes Unknown when its container has ended meanwhile.
func TestRecheckProcesses(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /a")
	pod := n.newPod("/a")
	probe := newPodProbe(n.Prober, "", patience)
	probe.addContainer(n.openContainer(&pod.Containers[0], &tableReservation{memory: n.tableMemory}))
	target := probe.volumes[0]
	target.observation.Health, target.observation.Cause = probes.Broken, probes.CauseHung
	probe.recheckProcesses()
	expectObservation(t, target.observation, probes.Broken, probes.CauseHung, "")
	n.writeFile("status", "Name:\tapp\nState:\tZ (zombie)\n")
	probe.recheckProcesses()
	expectObservation(t, target.observation, probes.Unknown, "", "container is gone")
}

func TestProbeSelf(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /a", "0:3 /ro ext4 / ro", "0:4 /net/b nfs4")
	probe := func(m probes.Mount) probes.Observation {
		t.Helper()
		return n.ProbeSelf(context.Background(), []probes.Mount{m}, patience)[0]
	}
	expectObservation(t, probe(probes.Mount{Path: "/a"}), probes.Healthy, "", "")
	folder := probe(probes.Mount{Path: "/a-folder"})
	expectObservation(t, folder, probes.Healthy, "", "")
	if folder.Device != "0:1" {
		t.Errorf("%+v", folder)
	}
	expectObservation(t, probe(probes.Mount{Path: "/absent"}), probes.Unknown, "", "no such file")
	expectObservation(t, probe(probes.Mount{Path: "/ro"}), probes.Healthy, "", "")
	canary := probe(probes.Mount{Path: "/a", Canary: probes.Canary{File: "x"}})
	expectObservation(t, canary, probes.Broken, probes.CauseCanaryFailed, "")
	if canary.ByDesign {
		t.Errorf("who asks for a canary wants it to be there: %+v", canary)
	}
	below := n.ProbeSelf(context.Background(), []probes.Mount{{Path: "/net", Expected: []probes.Expected{{Path: "b"}, {Path: "c"}}}}, patience)
	if len(below) != 3 {
		t.Fatalf("%+v", below)
	}
	expectObservation(t, below[1], probes.Healthy, "", "")
	expectObservation(t, below[2], probes.Broken, probes.CauseNotMounted, "declared")
	if all := n.ProbeSelf(context.Background(), []probes.Mount{{Path: "/"}, {Path: "/a"}}, patience); len(all) != 2 || all[1].Target.Path != "/a" {
		t.Errorf("%+v", all)
	}
	must(t, os.Remove(filepath.Join(n.root, "self")))
	expectObservation(t, probe(probes.Mount{Path: "/a"}), probes.Unknown, "", "find myself")
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

// The host's process may be replaced by another one of the same id.
func TestHostProcessIsReplaced(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /d fuse.x")
	n.writeHostTable(token, "0:70 "+volume+" fuse.x")
	expectObservation(t, n.probeMounts(csiMount("/d"))[0], probes.Healthy, "", "")
	must(t, os.RemoveAll(filepath.Join(n.root, "1")))
	n.writeHostTable(token, "0:71 "+volume+" fuse.x")
	if o := n.probeMounts(csiMount("/d"))[0]; o.Warning != probes.WarningStaleGeneration {
		t.Errorf("%+v", o)
	}
}

func TestClose(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:2 /hang", "0:3 /a")
	expectObservation(t, n.probePaths(time.Second, "/hang")[0], probes.Broken, probes.CauseHung, "no answer")
	must(t, n.Close(context.Background()))
	must(t, n.Close(context.Background()))
	if s := n.Stats(); s.Workers != 0 || s.InFlight != 0 || s.Parked != 0 {
		t.Errorf("left behind: %+v", s)
	}
	expectObservation(t, n.probePaths(patience, "/a")[0], probes.Unknown, "", "")
}
