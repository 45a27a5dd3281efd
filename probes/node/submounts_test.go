package node

import (
	"context"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
)

func emptyDirMount(path string, expected ...probes.Expected) probes.Mount {
	return probes.Mount{
		Volume: "e", Path: path, BelowOnly: true, Host: probes.HostVolume{Folder: "kubernetes.io~empty-dir/e"}, Expected: expected,
	}
}

func targetPaths(seen []probes.Observation) (paths []string) {
	for _, o := range seen {
		paths = append(paths, o.Target.Path)
	}
	return paths
}

func TestLearntSubmounts(t *testing.T) {
	const plain = "8:1 /e ext4 " + shared
	n := newFakeNode(t, Options{}, plain, "0:70 /e/a fuse.x", "0:71 /e/dead fuse.x", "0:72 /e/t tmpfs")
	n.writeHostTable(token, "0:70 "+shared+"/a fuse.x")
	seen := n.probeMounts(emptyDirMount("/e"))
	if len(seen) != 1 || seen[0].Target != (probes.Target{Container: "app", Volume: "e", Path: "/e/a"}) || seen[0].Device != "0:70" {
		t.Fatalf("only what was healthy once is expected: %+v", seen)
	}
	expectObservation(t, seen[0], probes.Healthy, "", "")

	n.writeTable(plain)
	for _, row := range []struct {
		host      string
		tentative bool
	}{{"0:70 " + shared + "/a fuse.x", false}, {"0:75 " + shared + "/a fuse.x", false}, {"0:70 /elsewhere fuse.x", true}} {
		n.writeHostTable(token, row.host)
		seen = n.probeMounts(emptyDirMount("/e"))
		if len(seen) != 1 || seen[0].Cause != probes.CauseNotMounted || seen[0].Tentative != row.tentative {
			t.Errorf("host has %s: %+v", row.host, seen)
		}
	}
	if other := n.probeMounts(probes.Mount{Volume: "other", Path: "/e", BelowOnly: true}); len(other) != 0 {
		t.Errorf("learnt of another volume: %+v", other)
	}

	// Nothing is forgotten while the table cannot be read.
	n.writeFile("mountinfo", "")
	seen = n.probeMounts(emptyDirMount("/e", probes.Expected{Path: "b"}))
	if len(seen) != 2 || seen[0].Health != probes.Unknown || seen[1].Health != probes.Unknown {
		t.Errorf("%+v", seen)
	}
}

func TestDeclaredMounts(t *testing.T) {
	n := newFakeNode(t, Options{}, "8:1 /e ext4 "+shared, "0:70 /e/dead fuse.x", "0:71 /e/t tmpfs")
	seen := n.probeMounts(emptyDirMount("/e", probes.Expected{Path: "dead", FSType: "fuse"}, probes.Expected{Path: "t", FSType: "fuse"},
		probes.Expected{Path: "none"}, probes.Expected{Path: "t/deeper"}))
	if len(seen) != 4 {
		t.Fatalf("%+v", seen)
	}
	expectObservation(t, seen[0], probes.Broken, probes.CauseDisconnected, "")
	for _, o := range seen[1:] {
		expectObservation(t, o, probes.Broken, probes.CauseNotMounted, "declared")
		if !o.Tentative {
			t.Errorf("it is on neither side: %+v", o)
		}
	}
}

// Below a volume that is probed itself, and beside other volumes of the container.
func TestSubmounts(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:60 /d fuse.x", "0:70 /d/a fuse.x", "0:71 /d/other/b fuse.x", "0:72 /d/watched/c fuse.x", "0:73 /x nfs4")
	seen := n.Probe(context.Background(), probes.Pod{UID: uid, Containers: []probes.Container{{
		Name: "app", ID: testID, Mounts: []probes.Mount{csiMount("/d"), {Volume: "w", Path: "/d/watched", BelowOnly: true}}, Others: []string{"/d/other", "/"},
	}}}, patience)
	want := []probes.Target{{Container: "app", Volume: "v", Path: "/d"}, {Container: "app", Volume: "v", Path: "/d/a"}, {Container: "app", Volume: "w", Path: "/d/watched/c"}}
	if len(seen) != len(want) {
		t.Fatalf("%v", targetPaths(seen))
	}
	for i, o := range seen {
		expectObservation(t, o, probes.Healthy, "", "")
		if o.Target != want[i] {
			t.Errorf("%+v, want %+v", o.Target, want[i])
		}
	}
}

// Who has mounted all of the host needs only what is declared.
func TestWholeHost(t *testing.T) {
	n := newFakeNode(t, Options{}, "8:1 /host ext4", "0:70 /host/a fuse.x", "0:71 /host/b fuse.x")
	whole := hostPathMount("/host", "/")
	whole.Expected = []probes.Expected{{Path: "b"}}
	seen := n.probeMounts(whole)
	if len(seen) != 2 || seen[1].Target.Path != "/host/b" {
		t.Errorf("%v", targetPaths(seen))
	}
}

// A FUSE that somebody mounts over an emptyDir stands at the volume's own path.
func TestMountOverAnEmptyDir(t *testing.T) {
	const plain = "8:1 /e ext4 " + shared + " rw master:1"
	n := newFakeNode(t, Options{}, plain, "0:70 /e fuse.x")
	n.writeHostTable(token, "0:70 "+shared+" fuse.x")
	seen := n.probeMounts(emptyDirMount("/e"))
	if len(seen) != 1 || seen[0].Target.Path != "/e" || seen[0].Health != probes.Healthy {
		t.Fatalf("%+v", seen)
	}
	n.writeTable(plain)
	seen = n.probeMounts(emptyDirMount("/e"))
	if len(seen) != 1 || seen[0].Cause != probes.CauseNotMounted || seen[0].Tentative {
		t.Errorf("the host has it: %+v", seen)
	}
	if none := n.probeMounts(probes.Mount{Volume: "x", Path: "/e", BelowOnly: true}); len(none) != 0 {
		t.Errorf("nothing is below: %+v", none)
	}
}

// A dead mount that the host can replace by propagation may come back; one on a private mount does
// not.
func TestDisconnectedBelowASlave(t *testing.T) {
	for propagation, tentative := range map[string]bool{"master:1": true, "shared:1": false} {
		n := newFakeNode(t, Options{}, "8:1 /e ext4 "+shared+" rw "+propagation, "0:70 /e/dead fuse.x")
		o := n.probeMounts(emptyDirMount("/e", probes.Expected{Path: "dead"}))[0]
		if o.Cause != probes.CauseDisconnected || o.Tentative != tentative {
			t.Errorf("%s: %+v", propagation, o)
		}
	}
}
