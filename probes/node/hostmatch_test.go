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

const (
	uid    = "0a1b"
	volume = "/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~csi/v/mount"
	token  = "0:90 /var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~projected/token"
	shared = "/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~empty-dir/e"
)

// probeMounts probes mounts of the one container.
func (n *fakeNode) probeMounts(mounts ...probes.Mount) []probes.Observation {
	n.t.Helper()
	return n.Probe(context.Background(), probes.Pod{UID: uid, Containers: []probes.Container{{Name: "app", ID: testID, Mounts: mounts}}}, patience)
}

func csiMount(path string) probes.Mount {
	return probes.Mount{Volume: "v", Path: path, Host: probes.HostVolume{Folder: "kubernetes.io~csi/v/mount"}}
}

func hostPathMount(path, host string) probes.Mount {
	return probes.Mount{Volume: "v", Path: path, Host: probes.HostVolume{Path: host}}
}

func TestContainerAndHost(t *testing.T) {
	readOnly := csiMount("/d")
	readOnly.ReadOnly = true
	canary := csiMount("/d")
	canary.Canary.File = "x"
	for _, row := range []struct {
		name      string
		container string // the mount in it
		mount     probes.Mount
		host      []string
		health    probes.Health
		cause     probes.Cause
		warning   probes.Warning
		byDesign  bool
	}{
		{"both healthy", "0:70 /d fuse.x", csiMount("/d"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Healthy, "", "", false},
		{"host is not known", "0:70 /d fuse.x", csiMount("/d"), nil, probes.Healthy, "", "", false},
		{"dead, host is not known", "0:70 /dead fuse.x", csiMount("/dead"), nil, probes.Broken, probes.CauseDisconnected, "", false},
		{"both dead", "0:70 /dead fuse.x", csiMount("/dead"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Broken, probes.CauseDisconnected, "", false},
		{"dead, mounted anew", "0:70 /dead fuse.x", csiMount("/dead"), []string{token, "0:71 " + volume + " fuse.x"}, probes.Broken, probes.CauseStaleGeneration, "", false},
		{"dead, mounted anew and dead", "0:70 /dead fuse.x", hostPathMount("/dead", "/dead-too"), []string{"0:71 /dead-too fuse.x"},
			probes.Broken, probes.CauseDisconnected, "", false},
		{"healthy, mounted anew", "0:70 /d fuse.x", csiMount("/d"), []string{token, "0:71 " + volume + " fuse.x"}, probes.Healthy, "", probes.WarningStaleGeneration, false},
		{"healthy, mounted anew and dead", "0:70 /d fuse.x", hostPathMount("/d", "/dead"), []string{"0:71 /dead fuse.x"}, probes.Healthy, "", probes.WarningHostBroken, false},
		{"bound before CSI mounted", "8:1 /d ext4 " + volume, csiMount("/d"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Broken, probes.CauseNotMounted, "", false},
		{"bound before hostPath was mounted", "8:1 /d ext4 /mnt/x", hostPathMount("/d", "/mnt/x"), []string{"0:70 /mnt/x fuse.x"}, probes.Broken, probes.CauseNotMounted, "", false},
		{"plain hostPath", "8:1 /d ext4 /mnt/x", hostPathMount("/d", "/mnt/x"), []string{token}, probes.Healthy, "", "", false},
		{"subPath", "0:70 /d fuse.x /s", csiMount("/d"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Healthy, "", "", false},
		{"read-only", "8:7 /d ext4 / ro", csiMount("/d"), []string{token}, probes.Broken, probes.CauseReadOnly, "", true},
		{"read-only, mounted anew", "8:7 /d ext4 / ro", csiMount("/d"), []string{token, "8:6 " + volume + " ext4"}, probes.Broken, probes.CauseReadOnly, "", true},
		{"read-only as asked", "8:7 /d ext4 / ro", readOnly, []string{token}, probes.Healthy, "", "", false},
		{"read-only by an error", "8:7 /d ext4 / rw,emergency_ro", csiMount("/d"), nil, probes.Broken, probes.CauseReadOnly, "", false},
		{"shut down", "8:7 /d xfs / rw,shutdown", csiMount("/d"), nil, probes.Broken, probes.CauseIOError, "", false},
		{"deleted", "8:7 /d ext4 /x//deleted", csiMount("/d"), nil, probes.Broken, probes.CauseSourceDeleted, "", false},
		{"no canary", "0:70 /d fuse.x", canary, nil, probes.Broken, probes.CauseCanaryFailed, "", true},
		{"behind a symlink", "0:70 /real fuse.x", csiMount("/link-to-mount"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Healthy, "", "", false},
		{"missing", "0:70 /real fuse.x", csiMount("/d"), []string{token, "0:70 " + volume + " fuse.x"}, probes.Broken, probes.CauseNotMounted, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newFakeNode(t, Options{}, row.container)
			if row.host != nil {
				n.writeHostTable(row.host...)
			}
			for range 2 { // the second time with the state of the first
				seen := n.probeMounts(row.mount)
				o := seen[0]
				if len(seen) != 1 || o.Health != row.health || o.Cause != row.cause || o.Warning != row.warning || o.ByDesign != row.byDesign || o.Tentative {
					t.Errorf("got %+v", seen)
				}
				if o.Finished.Before(o.Started) {
					t.Errorf("finished before it began: %+v", o)
				}
			}
		})
	}
}

// A host's mount that was there once is missed. One that never was is not.
func TestGoneOnTheHost(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /d fuse.x")
	n.writeHostTable(token)
	if o := n.probeMounts(csiMount("/d"))[0]; o.Health != probes.Healthy || o.Warning != "" {
		t.Errorf("%+v", o)
	}
	n.writeHostTable(token, "0:70 "+volume+" fuse.x")
	if o := n.probeMounts(csiMount("/d"))[0]; o.Health != probes.Healthy || o.Warning != "" {
		t.Errorf("%+v", o)
	}
	n.writeHostTable(token)
	if o := n.probeMounts(csiMount("/d"))[0]; o.Health != probes.Healthy || o.Warning != probes.WarningHostBroken {
		t.Errorf("%+v", o)
	}
	n.writeTable()
	if o := n.probeMounts(csiMount("/d"))[0]; o.Cause != probes.CauseNotMounted || !o.Tentative {
		t.Errorf("missing on both: %+v", o)
	}
}

// The claim's directory is remembered while both tables agree.
func TestClaimMountedAgain(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /dead fuse.x", "0:80 /other fuse.x")
	claims := []probes.Mount{{Volume: "v", Path: "/dead", Host: probes.HostVolume{Claim: true}}, {Volume: "w", Path: "/other", Host: probes.HostVolume{Claim: true}}}
	other := "0:80 /var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~nfs/w fuse.x"
	n.writeHostTable(token, "0:70 "+volume+" fuse.x", other)
	expectObservation(t, n.probeMounts(claims...)[0], probes.Broken, probes.CauseDisconnected, "")
	n.writeHostTable(token, "0:71 "+volume+" fuse.x", other, "0:99 /var/lib/kubelet/pods/"+uid+"/volumes/kubernetes.io~csi/unwatched/mount fuse.x")
	seen := n.probeMounts(claims...)
	expectObservation(t, seen[0], probes.Broken, probes.CauseStaleGeneration, "0:71")
	expectObservation(t, seen[1], probes.Healthy, "", "")
}

func TestContainerThatDoesNotRun(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /d fuse.x")
	pod := func(id string, mounts ...probes.Mount) probes.Pod {
		return probes.Pod{UID: uid, Containers: []probes.Container{{Name: "app", ID: id, Mounts: mounts}}}
	}
	for _, id := range []string{"", strings.Repeat("e", 64)} {
		n.writeHostTable(token, "0:70 "+volume+" fuse.x", "0:71 /dead fuse.x")
		seen := n.Probe(context.Background(), pod(id, csiMount("/d"), hostPathMount("/x", "/dead"), hostPathMount("/y", "/dead/below")), patience)
		expectObservation(t, seen[0], probes.Unknown, "", "")
		expectObservation(t, seen[1], probes.Broken, probes.CauseDisconnected, "the host's mount")
		expectObservation(t, seen[2], probes.Broken, probes.CauseDisconnected, "the host's mount")
		if seen[1].Target.Path != "/x" || seen[1].Device != "0:71" || seen[1].FSType != "fuse.x" || seen[1].Finished.Before(seen[1].Started) {
			t.Errorf("%+v", seen[1])
		}
		must(t, os.RemoveAll(filepath.Join(n.root, "1")))
		expectObservation(t, n.Probe(context.Background(), pod(id, hostPathMount("/x", "/dead")), patience)[0], probes.Unknown, "", "")
	}
}

func TestHostTableThatProvesNothing(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /dead fuse.x")
	n.writeHostTable(token, "0:71 "+volume+" fuse.x")
	expectObservation(t, n.probeMounts(csiMount("/dead"))[0], probes.Broken, probes.CauseStaleGeneration, "")
	table := filepath.Join(n.root, "1", "mountinfo")
	text, err := os.ReadFile(table)
	must(t, err)
	for name, broken := range map[string]string{"malformed": string(text) + "what is this\n", "empty": "", "truncated": string(text[:len(text)-12])} {
		must(t, os.WriteFile(table, []byte(broken), 0o600))
		if o := n.probeMounts(csiMount("/dead"))[0]; o.Cause != probes.CauseDisconnected {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestHungVolumeMountedAgain(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /hang fuse.x")
	n.writeHostTable(token, "0:71 "+volume+" fuse.x")
	pod := probes.Pod{UID: uid, Containers: []probes.Container{{Name: "app", ID: testID, Mounts: []probes.Mount{csiMount("/hang")}}}}
	expectObservation(t, n.Probe(context.Background(), pod, time.Second)[0], probes.Broken, probes.CauseHung, "") // no time is left for the host's mount
	expectObservation(t, n.Probe(context.Background(), pod, time.Second)[0], probes.Broken, probes.CauseStaleGeneration, "Hung")
}

// newExt4Node is a node with an ext4 file system on sda7, and a /sys that shows it.
func newExt4Node(t *testing.T, options string) (n *fakeNode, sys string) {
	t.Helper()
	sys = t.TempDir()
	n = newFakeNode(t, Options{SysRoot: sys}, "8:7 /d ext4 / "+options)
	must(t, os.MkdirAll(filepath.Join(sys, "dev/block"), 0o755))
	must(t, os.Symlink("../../devices/x/sda7", filepath.Join(sys, "dev/block/8:7")))
	must(t, os.MkdirAll(filepath.Join(sys, "fs/ext4/sda7"), 0o755))
	return n, sys
}

// From Linux 6.1 to 6.14 an ext4 takes no writes after an error, and its line does not show it.
func TestExt4ErrorsThatTheLineDoesNotShow(t *testing.T) {
	n, sys := newExt4Node(t, "rw")
	must(t, os.MkdirAll(filepath.Join(n.root, "fs/ext4/sda7"), 0o755))
	for _, row := range []struct {
		name, count, options, last, code string
		broken                           bool
	}{
		{"no error", "0\n", "rw\nerrors=remount-ro\n", "ext4_journal_check_start\n", "2\n", false},
		{"nothing is told", "", "", "", "", false},
		{"errors let it go on", "3\n", "rw\nerrors=continue\n", "ext4_find_entry\n", "5\n", false},
		{"errors stop it", "3\n", "rw\ndelalloc\nerrors=remount-ro\n", "ext4_find_entry\n", "5\n", true},
		{"an option that only looks so", "3\n", "rw\nxerrors=remount-ro\n", "", "18\n", false},
		{"its journal is lost", "1\n", "rw\nerrors=continue\n", "ext4_journal_check_start\n", "2\n", true},
		{"later errors say so", "2\n", "rw\nerrors=continue\n", "__ext4_new_inode\n", "8\n", true},
	} {
		for file, text := range map[string]string{
			filepath.Join(sys, "fs/ext4/sda7/errors_count"): row.count, filepath.Join(sys, "fs/ext4/sda7/last_error_func"): row.last,
			filepath.Join(n.root, "fs/ext4/sda7/options"): row.options, filepath.Join(sys, "fs/ext4/sda7/last_error_errcode"): row.code,
		} {
			must(t, os.WriteFile(file, []byte(text), 0o600))
		}
		o := n.probeMounts(csiMount("/d"))[0]
		if row.broken && (o.Cause != probes.CauseReadOnly || !o.ByDesign) || !row.broken && o.Health != probes.Healthy {
			t.Errorf("%s: %+v", row.name, o)
		}
	}
}

// An ext4 is read-only by an error when the kernel has counted one.
func TestErrorsOfExt4(t *testing.T) {
	n, sys := newExt4Node(t, "ro")
	for count, byDesign := range map[string]bool{"0\n": true, "": true, "2\n": false} {
		must(t, os.WriteFile(filepath.Join(sys, "fs/ext4/sda7/errors_count"), []byte(count), 0o600))
		if o := n.probeMounts(csiMount("/d"))[0]; o.Cause != probes.CauseReadOnly || o.ByDesign != byDesign {
			t.Errorf("%q: %+v", count, o)
		}
	}
}

// An error from opening an NFS mount is about that mount, unless another NFS mount lies on the way.
func TestStaleRootOfNFS(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /stale nfs", "0:71 /nfs nfs4", "0:72 /nfs/stale-below nfs4", "0:73 /stale-fuse fuse.x")
	expectObservation(t, n.probeMounts(csiMount("/stale"))[0], probes.Broken, probes.CauseStale, "deleted on the NFS server")
	expectObservation(t, n.probeMounts(csiMount("/nfs/stale-below"))[0], probes.Unknown, "", "stale")
	expectObservation(t, n.probeMounts(csiMount("/stale-fuse"))[0], probes.Unknown, "", "stale")
}
