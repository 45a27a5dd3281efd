package podmount_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

// newPodWithVolume returns a pod whose volume data has the source and is watched.
func newPodWithVolume(source corev1.VolumeSource) *corev1.Pod {
	pod := newPod("app", map[string]string{config.AnnotationVolumes: "data"})
	pod.Spec.Volumes[0].VolumeSource = source
	return pod
}

// findBackend returns the backend that a Reconciler sees behind the only mount of a pod.
func findBackend(t *testing.T, r *podmount.Reconciler) probes.Backend {
	t.Helper()
	all := r.Statuses()
	if len(all) != 1 {
		t.Fatalf("%d mounts", len(all))
	}
	return all[0].Backend
}

func TestBackends(t *testing.T) {
	csi := corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "nfs.csi.example"}}
	nfs := func(server string) corev1.VolumeSource {
		return corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: server, Path: "/export"}}
	}
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
	ephemeral := corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
	hostPath := corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "mnt//data/"}}
	emptyDir := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	for _, tc := range []struct {
		name           string
		volume         corev1.VolumeSource
		fsType, source string
		want           string // Backend.String
	}{
		{"inline CSI", csi, "fuse.s3fs", "s3fs", "CSI/nfs.csi.example"},
		{"inline CSI that is not found", csi, "", "", "CSI/nfs.csi.example"},
		{"inline CSI on NFS", csi, "nfs4", "filer:/export", "CSI/nfs.csi.example"},
		{"in-tree NFS", nfs("filer.example"), "nfs4", "10.0.0.7:/export", "NFS/filer.example"},
		{"in-tree NFS that is not found", nfs("filer.example"), "", "", "NFS/filer.example"},
		{"in-tree NFS by a v6 address", nfs("[fd00::7]"), "nfs", "[fd00::7]:/export", "NFS/fd00::7"},
		{"claim on NFS 3", claim, "nfs", "filer:/export/a", "NFS/filer"},
		{"claim on NFS 4", claim, "nfs4", "10.0.0.7:/", "NFS/10.0.0.7"},
		{"claim on NFS by a v6 address", claim, "nfs4", "[fd00::7]:/export", "NFS/fd00::7"},
		{"claim on NFS by a scoped address", claim, "nfs4", "[fe80::7%eth0]:/export", "NFS/fe80::7%eth0"},
		{"claim on NFS, colons in the path", claim, "nfs4", "filer:/a:/b", "NFS/filer"},
		{"hostPath on NFS", hostPath, "nfs4", "filer:/export", "NFS/filer"},
		{"NFS in an emptyDir", emptyDir, "nfs4", "filer:/export", "NFS/filer"},
		{"NFS without a server", claim, "nfs4", "export", "Source/nfs4:export"},
		{"NFS with an empty server", claim, "nfs4", ":/export", "Source/nfs4::/export"},
		{"no NFS, whatever its source says", claim, "fuse.evil", "filer:/export", "Source/fuse.evil:filer:/export"},
		{"no NFS, by the start of its type", hostPath, "nfsd", "nfsd:/x", "Host//mnt/data"},
		{"hostPath", hostPath, "fuse.s3fs", "s3fs", "Host//mnt/data"},
		{"hostPath that is not found", hostPath, "", "", "Host//mnt/data"},
		{"FUSE in an emptyDir", emptyDir, "fuse.sshfs", "user@host:", "Pod/app-uid"},
		{"claim on FUSE", claim, "fuse.juicefs", "JuiceFS:vol", "Source/fuse.juicefs:JuiceFS:vol"},
		{"ephemeral volume on a disk", ephemeral, "ext4", "/dev/sdb", "Source/ext4:/dev/sdb"},
		{"no source", claim, "ceph", "", "Source/ceph:"},
		{"no type", claim, "", "x", "Source/:x"},
		{"nothing known", claim, "", "", "/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, pod := newFakeNode(), newPodWithVolume(tc.volume)
			w.mounted = func(o *probes.Observation) { o.FSType, o.Source = tc.fsType, tc.source }
			w.putObject(pod)
			r := w.newReconciler(t)
			w.reconcileTimes(t, r, pod, 1)
			if got := findBackend(t, r).String(); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Whoever serves a FUSE chooses its source. It must not add lines to a log or fill a Lease.
func TestBackendOfHostileText(t *testing.T) {
	claim := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}
	for _, tc := range []struct {
		name           string
		volume         corev1.VolumeSource
		fsType, source string
		want           string
	}{
		{"line break", claim, "fuse", "a\nlevel=info", "Source/fuse:a?level=info"},
		{"escape", claim, "fuse\x1b[2J", "\x00\u202e", "Source/fuse?[2J:??"},
		{"not UTF-8", claim, "fuse", "\xff\xfe", "Source/fuse:?"},
		{"control in a server", claim, "nfs4", "fi\x07ler:/x", "NFS/fi?ler"},
		{"control in a hostPath", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/a\nb"}}, "", "", "Host//a?b"},
		{"control in a spec's server", corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "a\nb"}}, "", "", "NFS/a?b"},
		{"a password", claim, "fuse.davfs", "https://me:hush@dav.example/x", "Source/fuse.davfs:https://REDACTED@dav.example/x"},
		{"long", claim, "fuse", strings.Repeat("x", 1<<20), "Source/fuse:" + strings.Repeat("x", 192) + "..."},
		{"as long as may be", claim, "fuse", strings.Repeat("x", 195), "Source/fuse:" + strings.Repeat("x", 195)},
		{"long, and cut within a letter", claim, "fuse", strings.Repeat("é", 200), "Source/fuse:" + strings.Repeat("é", 96) + "..."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, pod := newFakeNode(), newPodWithVolume(tc.volume)
			w.mounted = func(o *probes.Observation) { o.FSType, o.Source = tc.fsType, tc.source }
			w.putObject(pod)
			r := w.newReconciler(t)
			w.reconcileTimes(t, r, pod, 1)
			got := findBackend(t, r)
			if got.String() != tc.want || len(got.Name) > 200 || !utf8.ValidString(got.Name) {
				t.Errorf("got %q of %d bytes, want %q", got, len(got.Name), tc.want)
			}
		})
	}
}

// A mount that is gone keeps its backend; one that is back has the backend that serves it now.
func TestBackendOfAMountThatIsGone(t *testing.T) {
	w, pod := newFakeNode(), newPodWithVolume(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}})
	w.putObject(pod)
	r := w.newReconciler(t)
	for _, tc := range []struct{ fsType, source, want string }{
		{"", "", "/"}, {"nfs4", "a:/x", "NFS/a"}, {"", "", "NFS/a"}, {"", "", "NFS/a"}, {"nfs4", "b:/x", "NFS/b"}, {"fuse", "f", "Source/fuse:f"}, {"", "", "Source/fuse:f"},
	} {
		w.mounted = func(o *probes.Observation) { o.FSType, o.Source = tc.fsType, tc.source }
		w.reconcileTimes(t, r, pod, 1)
		if got := findBackend(t, r).String(); got != tc.want {
			t.Errorf("%s from %s: got %q, want %q", tc.fsType, tc.source, got, tc.want)
		}
	}
	w.unknown["/data"] = "not seen"
	w.reconcileTimes(t, r, pod, 3)
	if got := findBackend(t, r).String(); got != "Source/fuse:f" {
		t.Errorf("out of sight: %q", got)
	}
	successor := pod.DeepCopy()
	successor.UID = "successor"
	w.putObject(successor)
	w.reconcileTimes(t, r, successor, 1)
	if got := findBackend(t, r).String(); got != "/" {
		t.Errorf("the successor inherits %q", got)
	}
}
