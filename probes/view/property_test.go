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

// randomHost has mounts of few devices at few places, some of them folders of another, some stacked.
func randomHost(t testing.TB, r *rand.Rand) *mountinfo.Table {
	points := []string{
		"/mnt", "/mnt/a", "/mnt/a/b", "/var/lib/kubelet", pod + "/volumes/" + csi, pod + "/volumes/" + csi + "/in",
		pod + "/volumes/kubernetes.io~csi/w/mount", pod + "/volumes/kubernetes.io~nfs/n", pod + "/volumes/kubernetes.io~empty-dir/e",
	}
	lines := []string{disk, token}
	for range r.IntN(10) {
		lines = append(lines, fmt.Sprintf("0:%d %s %s %s", 70+r.IntN(4), pick(r, "/", "/", "/x", "/x/y"), pick(r, points...), pick(r, "fuse.x", "ext4")))
	}
	return table(t, lines...)
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// bind is what a runtime makes of a path of the host that leads over no symlink.
func bind(t testing.TB, host *mountinfo.Table, path string) view.Seen {
	m, _ := host.Covering(path)
	root := strings.TrimSuffix(m.Root, "/") + strings.TrimPrefix(path, strings.TrimSuffix(m.MountPoint, "/"))
	return at(t, "/d", fmt.Sprintf("%s %s /d %s", m.Device, or(root, "/"), m.FSType))
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Whatever the host has mounted where: what was bound from there just now is neither stale nor unmounted, unless the volume
// has no mount of its own at all.
func TestFreshBindIsNeverWrong(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5_000 {
		host := randomHost(t, r)
		volume := view.Volume{Name: "v"}
		var from string
		switch r.IntN(4) {
		case 0:
			from = pick(r, "/", "/mnt", "/mnt/a", "/mnt/a/b", "/mnt/c", "/var")
			volume.Host.Path = from
		case 1:
			folder := pick(r, csi, "kubernetes.io~nfs/n", "kubernetes.io~empty-dir/e")
			from = pod + "/volumes/" + folder
			volume.Host.Folder = folder
		default:
			from = pod + "/volumes/" + pick(r, csi, "kubernetes.io~nfs/n")
			volume.Host.Claim = true
		}
		sub := pick(r, "", "", "/in", "/s/t")
		volume.Seen = bind(t, host, strings.TrimSuffix(from, "/")+sub)
		h := view.NewHost(host)
		s := h.Volumes(uid, []view.Volume{volume})[0]
		_, mounted := host.At(from)
		what := view.Unmounted(&volume.Mount, volume.Host, &s)
		unclear := s.Relation != view.Same && !volume.Host.Claim // of a claim another device below its folder tells nothing
		if mounted && (unclear || what != "") || s.Beneath || s.Relation == view.Gone || s.Relation == view.Other && !s.Guess {
			t.Fatalf("%s%s as %+v is %+v %q, from\n%+v", from, sub, volume, s, what, host.Mounts)
		}
		if s.Own && s.Mount.MountPoint != "/" {
			requireOld(t, r, volume, s)
		}
	}
}

// requireOld lets the host mount the volume anew: the container's mount is recognized as the former one.
func requireOld(t *testing.T, r *rand.Rand, v view.Volume, s view.Standing) {
	t.Helper()
	fresh := view.NewHost(table(t, disk, token, fmt.Sprintf("0:%d / %s fuse.x", 90+r.IntN(2), s.Mount.MountPoint)))
	v.Before = s.Mount.MountPoint
	if got := fresh.Volumes(uid, []view.Volume{v})[0]; got.Relation != view.Other || got.Guess {
		t.Fatalf("mounted anew at %s: %+v", s.Mount.MountPoint, got)
	}
	gone := view.NewHost(table(t, disk, token))
	if got := gone.Volumes(uid, []view.Volume{v})[0]; got.Relation != view.Gone {
		t.Fatalf("unmounted at %s: %+v", s.Mount.MountPoint, got)
	}
}

// No table of whatever content makes a claim of Own, Other or Gone without a line for it.
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
		seen := view.Seen{Table: inside, Mount: m, Found: ok}
		volumes := []view.Volume{{Name: "a", Host: probes.HostVolume{Path: path}, Seen: seen}, {Name: "b", Host: probes.HostVolume{Folder: csi}, Seen: seen}, {Name: "c", Seen: seen}}
		h := view.NewHost(outside)
		for i, s := range h.Volumes(uid, volumes) {
			if h == nil && s != (view.Standing{}) || s.Relation == view.Other && s.Mount.ID == 0 && s.Mount.MountPoint == "" || s.Relation == view.Gone {
				t.Errorf("%+v is %+v", volumes[i], s)
			}
			view.Unmounted(&m, volumes[i].Host, &s)
			h.Below(s, "x", seen)
		}
		view.Children(inside, view.Below{Base: path, Own: true, Learnt: []string{path}})
	})
}
