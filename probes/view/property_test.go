package view_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

// randomHost has mounts of few devices at few places, some bound from directories of another, some
// stacked.
func randomHost(t testing.TB, r *rand.Rand) *mountinfo.Table {
	points := []string{
		"/mnt", "/mnt/a", "/mnt/a/b", "/var/lib/kubelet", pod + "/volumes/" + csi, pod + "/volumes/" + csi + "/in",
		pod + "/volumes/kubernetes.io~csi/w/mount", pod + "/volumes/kubernetes.io~nfs/n", pod + "/volumes/kubernetes.io~empty-dir/e",
	}
	lines := []string{disk, token}
	for range r.IntN(10) {
		lines = append(lines, fmt.Sprintf("0:%d %s %s %s", 70+r.IntN(4), pickOne(r, "/", "/", "/x", "/x/y"), pickOne(r, points...), pickOne(r, "fuse.x", "ext4")))
	}
	return newTable(t, lines...)
}

func pickOne(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// bindMount is what a container has after its runtime bound a path of the host without symlinks.
func bindMount(t testing.TB, host *mountinfo.Table, path string) view.ContainerMount {
	m, _ := host.Covering(path)
	root := strings.TrimSuffix(m.Root, "/") + strings.TrimPrefix(path, strings.TrimSuffix(m.MountPoint, "/"))
	return mountAt(t, "/d", fmt.Sprintf("%s %s /d %s", m.Device, orDefault(root, "/"), m.FSType))
}

func orDefault(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Whatever the host has mounted: a mount that was just bound from there is neither stale nor
// unmounted, unless the volume has no mount of its own at all.
func TestFreshBindIsNeverWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5_000 {
		host := randomHost(t, r)
		volume := view.VolumeMount{Name: "v"}
		var from string
		switch r.IntN(4) {
		case 0:
			from = pickOne(r, "/", "/mnt", "/mnt/a", "/mnt/a/b", "/mnt/c", "/var")
			volume.Host.Path = from
		case 1:
			folder := pickOne(r, csi, "kubernetes.io~nfs/n", "kubernetes.io~empty-dir/e")
			from = pod + "/volumes/" + folder
			volume.Host.Folder = folder
		default:
			from = pod + "/volumes/" + pickOne(r, csi, "kubernetes.io~nfs/n")
			volume.Host.Claim = true
		}
		sub := pickOne(r, "", "", "/in", "/s/t")
		volume.ContainerMount = bindMount(t, host, strings.TrimSuffix(from, "/")+sub)
		h := view.NewHostTable(host)
		s := h.MatchVolumes(uid, []view.VolumeMount{volume})[0]
		_, mounted := host.At(from)
		what := view.DetectUnmounted(&volume.Mount, volume.Host, &s)
		unclear := s.Relation != view.RelationSame && !volume.Host.Claim // of a claim another device proves nothing
		if mounted && (unclear || what != "") || s.Covered || s.Relation == view.RelationGone || s.Relation == view.RelationOther && !s.Inferred {
			t.Fatalf("%s%s as %+v is %+v %q, from\n%+v", from, sub, volume, s, what, host.Mounts)
		}
		if s.AtVolume && s.Mount.MountPoint != "/" {
			expectReplaced(t, r, volume, s)
		}
	}
}

// expectReplaced has the host mount the volume again: the container's mount must be recognized as
// the earlier one.
func expectReplaced(t *testing.T, r *rand.Rand, v view.VolumeMount, s view.HostMatch) {
	t.Helper()
	fresh := view.NewHostTable(newTable(t, disk, token, fmt.Sprintf("0:%d / %s fuse.x", 90+r.IntN(2), s.Mount.MountPoint)))
	v.LastHostPoint = s.Mount.MountPoint
	if got := fresh.MatchVolumes(uid, []view.VolumeMount{v})[0]; got.Relation != view.RelationOther || got.Inferred {
		t.Fatalf("mounted anew at %s: %+v", s.Mount.MountPoint, got)
	}
	gone := view.NewHostTable(newTable(t, disk, token))
	if got := gone.MatchVolumes(uid, []view.VolumeMount{v})[0]; got.Relation != view.RelationGone {
		t.Fatalf("unmounted at %s: %+v", s.Mount.MountPoint, got)
	}
}

// Whatever a table contains, AtVolume, RelationOther and RelationGone need a line for it.
func FuzzVolumes(f *testing.F) {
	f.Add("10 1 8:1 / / rw - ext4 s rw\n11 10 0:70 / "+pod+"/volumes/"+csi+" rw - fuse.x s rw\n", "10 1 0:50 / / rw - overlay s rw\n11 10 0:71 / /d rw - fuse.x s rw\n", "/mnt")
	f.Add("10 10 8:1 / / rw - ext4 s rw\n11 12 0:70 / /mnt rw - fuse.x s rw\n12 11 0:70 / /mnt rw - autofs s rw\n", "11 10 0:71 //deleted /d rw - fuse.x s rw\n", "/mnt")
	f.Fuzz(func(t *testing.T, host, container, path string) {
		outside, err := mountinfo.Read(strings.NewReader(host), nil)
		if err != nil {
			return
		}
		inside, err := mountinfo.Read(strings.NewReader(container), nil)
		if err != nil || !strings.HasPrefix(path, "/") {
			return
		}
		m, ok := inside.At("/d")
		seen := view.ContainerMount{Table: inside, Mount: m, Found: ok}
		volumes := []view.VolumeMount{{Name: "a", Host: probes.HostVolume{Path: path}, ContainerMount: seen}, {Name: "b", Host: probes.HostVolume{Folder: csi}, ContainerMount: seen}, {Name: "c", ContainerMount: seen}}
		h := view.NewHostTable(outside)
		for i, s := range h.MatchVolumes(uid, volumes) {
			if h == nil && s != (view.HostMatch{}) || s.Relation == view.RelationOther && s.Mount.ID == 0 && s.Mount.MountPoint == "" || s.Relation == view.RelationGone {
				t.Errorf("%+v is %+v", volumes[i], s)
			}
			view.DetectUnmounted(&m, volumes[i].Host, &s)
			h.MatchBelow(s, "x", seen)
		}
		view.FindSubmounts(inside, view.SubmountRules{Base: path, Own: true, Learnt: []string{path}})
	})
}
