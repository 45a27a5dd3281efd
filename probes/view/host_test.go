package view_test

import (
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestStanding(t *testing.T) {
	const (
		folder = pod + "/volumes/" + csi
		global = "/var/lib/kubelet/plugins/kubernetes.io/csi/x/globalmount"
	)
	byFolder, byPath := probes.HostVolume{Folder: csi}, func(p string) probes.HostVolume { return probes.HostVolume{Path: p} }
	emptyDir, nfs := probes.HostVolume{Folder: "kubernetes.io~empty-dir/v"}, probes.HostVolume{Folder: "kubernetes.io~nfs/v"}
	for _, row := range []struct {
		name      string
		host      []string // after the host's root, unless that is the first
		volume    probes.HostVolume
		container []string // at /d
		before    string
		want      view.Relation
		beneath   bool
		at        string // the host's mount
		folder    string
	}{
		// The same volume, whatever it looks like.
		{"FUSE by CSI", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.Same, false, folder, folder},
		{"subPath", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 /a/b /d fuse.x"}, "", view.Same, false, folder, folder + "/a/b"},
		{"block device with several mounts", []string{token, "252:1 / " + global + " ext4", "252:1 / " + folder + " ext4"},
			byFolder, []string{"252:1 / /d ext4"}, "", view.Same, false, folder, folder},
		{"driver that binds a folder of its mount", []string{token, "0:70 / /drv fuse.x", "0:70 /vol " + folder + " fuse.x"},
			byFolder, []string{"0:70 /vol/sub /d fuse.x"}, "", view.Same, false, folder, folder + "/sub"},
		{"in-tree NFS", []string{token, "0:71 / " + pod + "/volumes/kubernetes.io~nfs/v nfs4"}, nfs, []string{"0:71 / /d nfs4"}, "", view.Same, false,
			pod + "/volumes/kubernetes.io~nfs/v", pod + "/volumes/kubernetes.io~nfs/v"},
		{"another root of the kubelet", []string{"0:70 / /data/k/pods/" + uid + "/volumes/" + csi + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "",
			view.Same, false, "/data/k/pods/" + uid + "/volumes/" + csi, "/data/k/pods/" + uid + "/volumes/" + csi},
		{"the kubelet's root seen twice", []string{"0:70 / /data/k/pods/" + uid + "/volumes/" + csi + " fuse.x", "0:70 / " + folder + " fuse.x"},
			byFolder, []string{"0:70 / /d fuse.x"}, "", view.Same, false, "/data/k/pods/" + uid + "/volumes/" + csi, "/data/k/pods/" + uid + "/volumes/" + csi},
		{"emptyDir in memory", []string{token, "0:72 / " + pod + "/volumes/kubernetes.io~empty-dir/v tmpfs"}, emptyDir, []string{"0:72 / /d tmpfs"}, "",
			view.Same, false, pod + "/volumes/kubernetes.io~empty-dir/v", pod + "/volumes/kubernetes.io~empty-dir/v"},
		{"hostPath of a plain folder", nil, byPath("/srv/x"), []string{"8:1 /srv/x /d ext4"}, "", view.Same, false, "/", "/srv/x"},
		{"hostPath of a plain folder, subPathExpr", nil, byPath("/srv/x"), []string{"8:1 /srv/x/s /d ext4"}, "", view.Same, false, "/", "/srv/x/s"},
		{"hostPath /", nil, byPath("/"), []string{"8:1 / /d ext4"}, "", view.Same, false, "/", "/"},
		{"hostPath of a mount", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "", view.Same, false, "/mnt/x", "/mnt/x"},
		{"hostPath inside a mount", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x/y"), []string{"0:70 /y /d fuse.x"}, "", view.Same, false, "/mnt/x", "/mnt/x/y"},
		{"hostPath that is bound onto itself", []string{"8:1 /mnt/x /mnt/x ext4"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.Same, false, "/mnt/x", "/mnt/x"},
		{"btrfs subvolume", []string{"0:30 /@ / btrfs", "0:30 /@home /home btrfs"}, byPath("/home/x"), []string{"0:30 /@home/x /d btrfs"}, "",
			view.Same, false, "/home", "/home/x"},
		{"overlay as the host's root", []string{"0:31 / / overlay"}, byPath("/srv"), []string{"0:31 /srv /d overlay"}, "", view.Same, false, "/", "/srv"},
		{"propagated into the container", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"),
			[]string{"8:1 /mnt/x /d ext4 rw master:1", "0:70 / /d fuse.x rw master:2"}, "", view.Same, false, "/mnt/x", "/mnt/x"},
		{"overmounted by the application", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x", "0:51 / /d tmpfs"}, "",
			view.Same, false, folder, folder},
		{"subPath that is a mount on the host", []string{token, "0:70 / " + folder + " fuse.x", "0:73 / " + folder + "/in fuse.y"},
			byFolder, []string{"0:73 / /d fuse.y"}, "", view.Same, false, folder, folder},
		{"the host's root is the container's own folder name", []string{"8:1 / / ext4", "8:1 /mnt/a /mnt/b ext4"}, byPath("/mnt/a"), []string{"8:1 /mnt/a /d ext4"}, "",
			view.Same, false, "/", "/mnt/a"},

		// Nothing is known.
		{"hostPath through a symlink", []string{"0:20 / /run tmpfs"}, byPath("/var/run/x"), []string{"0:20 /x /d tmpfs"}, "", view.Unclear, false, "", ""},
		{"autofs on the host", []string{"0:21 / /net autofs"}, byPath("/net"), []string{"0:71 / /d nfs4"}, "/net", view.Unclear, false, "", ""},
		{"below an autofs", []string{"0:21 / /net autofs"}, byPath("/net/a"), []string{"0:71 / /d nfs4"}, "/net/a", view.Unclear, false, "", ""},
		{"autofs in the container", []string{"0:21 / /net autofs", "0:71 / /net nfs4"}, byPath("/net"), []string{"0:21 / /d autofs"}, "", view.Unclear, false, "", ""},
		{"another namespace than the kubelet's", nil, byFolder, []string{"0:70 / /d fuse.x"}, folder, view.Unclear, false, "", ""},
		{"another pod", []string{"0:70 / /var/lib/kubelet/pods/1" + uid + "/volumes/" + csi + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.Unclear, false, "", ""},
		{"two roots of the kubelet that disagree", []string{"0:74 / /k/pods/" + uid + "/volumes/" + csi + " fuse.x", "0:75 / " + folder + " fuse.x"},
			byFolder, []string{"0:70 / /d fuse.x"}, "", view.Unclear, false, "", ""},
		{"nothing in the container, a folder on the host", nil, byPath("/srv/x"), nil, "", view.Unclear, false, "/", ""},

		// The host has no mount.
		{"emptyDir", []string{token}, emptyDir, []string{"8:1 " + pod + "/volumes/kubernetes.io~empty-dir/v /d ext4"}, "", view.None, false, "",
			pod + "/volumes/kubernetes.io~empty-dir/v"},
		{"emptyDir, subPath", []string{token}, emptyDir, []string{"8:1 " + pod + "/volumes/kubernetes.io~empty-dir/v/s /d ext4"}, "", view.None, false, "",
			pod + "/volumes/kubernetes.io~empty-dir/v/s"},
		{"never seen", []string{token}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.None, false, "", ""},
		{"unmounted", []string{token}, byFolder, []string{"0:70 / /d fuse.x"}, folder, view.Gone, false, "", ""},
		{"hostPath unmounted", nil, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "/mnt/x", view.Gone, false, "", ""},

		// Another mount.
		{"mounted anew", []string{token, "0:71 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.Other, false, folder, folder},
		{"mounted anew on top", []string{token, "0:70 / " + folder + " fuse.x", "0:71 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "",
			view.Other, false, folder, folder},
		{"hostPath mounted anew", []string{"0:71 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "", view.Other, false, "/mnt/x", "/mnt/x"},
		{"missing in the container", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, nil, "", view.Other, false, folder, ""},

		// The folder beneath.
		{"bound before CSI mounted", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"8:1 " + folder + " /d ext4"}, "", view.Other, true, folder, folder},
		{"bound before, subPath", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"8:1 " + folder + "/s /d ext4"}, "", view.Other, true, folder, folder + "/s"},
		{"bound before an unknown plugin mounted", []string{"0:70 / " + pod + "/volumes/x~y/v cifs"}, probes.HostVolume{Folder: "x~y/v"},
			[]string{"8:1 " + pod + "/volumes/x~y/v /d ext4"}, "", view.Other, true, pod + "/volumes/x~y/v", pod + "/volumes/x~y/v"},
		{"kubelet on a disk of its own", []string{disk, "8:2 / /var/lib/kubelet xfs", token, "0:70 / " + folder + " fuse.x"}, byFolder,
			[]string{"8:2 /pods/" + uid + "/volumes/" + csi + " /d xfs"}, "", view.Other, true, folder, folder},
		{"hostPath bound before", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.Other, true, "/mnt/x", "/mnt/x"},
		{"hostPath inside, bound before", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x/y"), []string{"8:1 /mnt/x/y /d ext4"}, "", view.Other, true, "/mnt/x", "/mnt/x/y"},
		{"hostPath bound before, a bind of the same disk", []string{disk, "8:1 /disks/7 /mnt/x ext4"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "",
			view.Other, true, "/mnt/x", "/mnt/x"},
		{"beneath two mounts", []string{"0:69 / /mnt tmpfs", "0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.Other, true, "/mnt/x", "/mnt/x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.host
			if len(lines) == 0 || strings.Fields(lines[0])[2] != "/" {
				lines = append([]string{disk}, lines...)
			}
			seen := at(t, "/d", row.container...)
			seen.Before = row.before
			volume := view.Volume{Name: "v", Host: row.volume, Seen: seen}
			s := view.NewHost(table(t, lines...)).Volumes(uid, []view.Volume{volume})[0]
			if s.Relation != row.want || s.Beneath != row.beneath || s.Mount.MountPoint != row.at || s.Folder != row.folder || s.Guess {
				t.Errorf("got %+v", s)
			}
			if row.volume.Path != "" || s.Beneath || !seen.Found {
				return
			}
			// A claim of the same volume is found by the device, or not at all.
			volume.Host = probes.HostVolume{Claim: true}
			c := view.NewHost(table(t, lines...)).Volumes(uid, []view.Volume{volume})[0]
			if c.Relation != row.want && c.Relation != view.Unclear && !c.Guess {
				t.Errorf("as a claim: %+v", c)
			}
		})
	}
}

func TestHostThatProvesNothing(t *testing.T) {
	malformed := table(t, disk, "0:71 / /mnt/x fuse.x")
	malformed.Malformed = 1
	seen := at(t, "/d", "0:70 / /d fuse.x")
	for name, h := range map[string]*view.Host{"none": view.NewHost(nil), "empty": view.NewHost(table(t)), "malformed": view.NewHost(malformed)} {
		s := h.Volumes(uid, []view.Volume{{Host: probes.HostVolume{Path: "/mnt/x"}, Seen: seen}})[0]
		if b := h.Below(s, "a", seen); s != (view.Standing{}) || b != (view.Standing{}) {
			t.Errorf("%s: %+v %+v", name, s, b)
		}
	}
}

func TestClaims(t *testing.T) {
	claim := probes.HostVolume{Claim: true}
	folder := func(name string) string { return pod + "/volumes/kubernetes.io~csi/" + name + "/mount" }
	before := func(s view.Seen, path string) view.Seen { s.Before = path; return s }
	fuse := func(device string) view.Seen { return at(t, "/d", device+" / /d fuse.x") }
	type want struct {
		relation view.Relation
		at       string
		guess    bool
	}
	for _, row := range []struct {
		name    string
		host    []string
		volumes []view.Volume
		want    []want
	}{
		{"by the device", []string{"0:70 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "b", Host: claim, Seen: fuse("0:71")}, {Name: "a", Seen: fuse("0:70")}},
			[]want{{view.Same, folder("b"), false}, {view.Same, folder("a"), false}}},
		{"where it was before", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: before(fuse("0:70"), folder("a"))}},
			[]want{{view.Other, folder("a"), false}}},
		{"gone from where it was before", []string{token, "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: before(fuse("0:70"), folder("a"))}},
			[]want{{view.Gone, "", false}}},
		{"left over", []string{token, "0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}, {Name: "b", Host: claim, Seen: fuse("0:71")}},
			[]want{{view.Other, folder("a"), true}, {view.Same, folder("b"), false}}},
		{"left over by a volume that is named", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}, {Name: "b", Host: probes.HostVolume{Folder: "kubernetes.io~csi/b/mount"}, Seen: fuse("0:69")}},
			[]want{{view.Other, folder("a"), true}, {view.Other, folder("b"), false}}},
		{"left over for two containers", []string{"0:72 / " + folder("a") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}, {Name: "a", Host: claim, Seen: view.Seen{}}},
			[]want{{view.Other, folder("a"), true}, {view.Other, folder("a"), true}}},
		{"left over, but of another kind", []string{"0:72 / " + folder("a") + " nfs4"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}}, []want{{view.Unclear, "", false}}},
		{"two left over", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}}, []want{{view.Unclear, "", false}}},
		{"two claims left", []string{"0:72 / " + folder("a") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}, {Name: "b", Host: claim, Seen: fuse("0:71")}},
			[]want{{view.Unclear, "", false}, {view.Unclear, "", false}}},
		{"no claim's: a token, an emptyDir", []string{token, "0:72 / " + pod + "/volumes/kubernetes.io~empty-dir/e fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}}, []want{{view.Unclear, "", false}}},
		{"one server has both", []string{"0:70 / " + folder("a") + " nfs4", "0:70 / " + folder("b") + " nfs4"},
			[]view.Volume{{Name: "a", Host: claim, Seen: fuse("0:70")}}, []want{{view.Same, folder("a"), false}}},
		{"one disk has both in folders", []string{"8:7 /x " + folder("a") + " ext4", "8:7 /y " + folder("b") + " ext4"},
			[]view.Volume{{Name: "b", Host: claim, Seen: at(t, "/d", "8:7 /y/sub /d ext4")}}, []want{{view.Same, folder("b"), false}}},
		{"bound before it was mounted", []string{disk, "0:70 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.Volume{{Name: "a", Host: claim, Seen: at(t, "/d", "8:1 "+folder("a")+" /d ext4")}}, []want{{view.Other, folder("a"), false}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.host
			if lines[0] != disk {
				lines = append([]string{disk}, lines...)
			}
			for i, s := range view.NewHost(table(t, lines...)).Volumes(uid, row.volumes) {
				if got := (want{s.Relation, s.Mount.MountPoint, s.Guess}); got != row.want[i] {
					t.Errorf("%d: got %+v, want %+v", i, got, row.want[i])
				}
			}
		})
	}
}

// A folder of which the container's line does not tell which of several mounts it is may not be missed later.
func TestAmbiguousIsNotOwn(t *testing.T) {
	h := view.NewHost(table(t, disk, "0:70 / "+pod+"/volumes/kubernetes.io~csi/a/mount nfs4", "0:70 / "+pod+"/volumes/kubernetes.io~csi/b/mount nfs4"))
	seen := at(t, "/d", "0:70 / /d nfs4")
	if s := h.Volumes(uid, []view.Volume{{Name: "a", Seen: seen}})[0]; s.Relation != view.Same || s.Own {
		t.Errorf("%+v", s)
	}
	h = view.NewHost(table(t, disk, "0:70 / "+pod+"/volumes/"+csi+" nfs4"))
	for _, host := range []probes.HostVolume{{Claim: true}, {Folder: csi}} {
		if s := h.Volumes(uid, []view.Volume{{Name: "a", Host: host, Seen: seen}})[0]; s.Relation != view.Same || !s.Own {
			t.Errorf("%+v: %+v", host, s)
		}
	}
	if s := h.Volumes(uid, []view.Volume{{Host: probes.HostVolume{Path: "/x"}, Seen: at(t, "/d", "8:1 /x /d ext4")}})[0]; s.Own {
		t.Errorf("a plain folder: %+v", s)
	}
}
