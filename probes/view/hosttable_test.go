package view_test

import (
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestHostMatch(t *testing.T) {
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
		// The same volume, in all its forms.
		{"FUSE by CSI", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationSame, false, folder, folder},
		{"subPath", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 /a/b /d fuse.x"}, "", view.RelationSame, false, folder, folder + "/a/b"},
		{"block device with several mounts", []string{token, "252:1 / " + global + " ext4", "252:1 / " + folder + " ext4"},
			byFolder, []string{"252:1 / /d ext4"}, "", view.RelationSame, false, folder, folder},
		{"driver that binds a folder of its mount", []string{token, "0:70 / /drv fuse.x", "0:70 /vol " + folder + " fuse.x"},
			byFolder, []string{"0:70 /vol/sub /d fuse.x"}, "", view.RelationSame, false, folder, folder + "/sub"},
		{"in-tree NFS", []string{token, "0:71 / " + pod + "/volumes/kubernetes.io~nfs/v nfs4"}, nfs, []string{"0:71 / /d nfs4"}, "", view.RelationSame, false,
			pod + "/volumes/kubernetes.io~nfs/v", pod + "/volumes/kubernetes.io~nfs/v"},
		{"another root of the kubelet", []string{"0:70 / /data/k/pods/" + uid + "/volumes/" + csi + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "",
			view.RelationSame, false, "/data/k/pods/" + uid + "/volumes/" + csi, "/data/k/pods/" + uid + "/volumes/" + csi},
		{"the kubelet's root seen twice", []string{"0:70 / /data/k/pods/" + uid + "/volumes/" + csi + " fuse.x", "0:70 / " + folder + " fuse.x"},
			byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationSame, false, "/data/k/pods/" + uid + "/volumes/" + csi, "/data/k/pods/" + uid + "/volumes/" + csi},
		{"emptyDir in memory", []string{token, "0:72 / " + pod + "/volumes/kubernetes.io~empty-dir/v tmpfs"}, emptyDir, []string{"0:72 / /d tmpfs"}, "",
			view.RelationSame, false, pod + "/volumes/kubernetes.io~empty-dir/v", pod + "/volumes/kubernetes.io~empty-dir/v"},
		{"hostPath of a plain folder", nil, byPath("/srv/x"), []string{"8:1 /srv/x /d ext4"}, "", view.RelationSame, false, "/", "/srv/x"},
		{"hostPath of a plain folder, subPathExpr", nil, byPath("/srv/x"), []string{"8:1 /srv/x/s /d ext4"}, "", view.RelationSame, false, "/", "/srv/x/s"},
		{"hostPath /", nil, byPath("/"), []string{"8:1 / /d ext4"}, "", view.RelationSame, false, "/", "/"},
		{"hostPath of a mount", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "", view.RelationSame, false, "/mnt/x", "/mnt/x"},
		{"hostPath inside a mount", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x/y"), []string{"0:70 /y /d fuse.x"}, "", view.RelationSame, false, "/mnt/x", "/mnt/x/y"},
		{"hostPath that is bound onto itself", []string{"8:1 /mnt/x /mnt/x ext4"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.RelationSame, false, "/mnt/x", "/mnt/x"},
		{"btrfs subvolume", []string{"0:30 /@ / btrfs", "0:30 /@home /home btrfs"}, byPath("/home/x"), []string{"0:30 /@home/x /d btrfs"}, "",
			view.RelationSame, false, "/home", "/home/x"},
		{"overlay as the host's root", []string{"0:31 / / overlay"}, byPath("/srv"), []string{"0:31 /srv /d overlay"}, "", view.RelationSame, false, "/", "/srv"},
		{"propagated into the container", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"),
			[]string{"8:1 /mnt/x /d ext4 rw master:1", "0:70 / /d fuse.x rw master:2"}, "", view.RelationSame, false, "/mnt/x", "/mnt/x"},
		{"overmounted by the application", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x", "0:51 / /d tmpfs"}, "",
			view.RelationSame, false, folder, folder},
		{"subPath that is a mount on the host", []string{token, "0:70 / " + folder + " fuse.x", "0:73 / " + folder + "/in fuse.y"},
			byFolder, []string{"0:73 / /d fuse.y"}, "", view.RelationSame, false, folder, folder},
		{"the host's root is the container's own folder name", []string{"8:1 / / ext4", "8:1 /mnt/a /mnt/b ext4"}, byPath("/mnt/a"), []string{"8:1 /mnt/a /d ext4"}, "",
			view.RelationSame, false, "/", "/mnt/a"},

		// Nothing is known.
		{"hostPath through a symlink", []string{"0:20 / /run tmpfs"}, byPath("/var/run/x"), []string{"0:20 /x /d tmpfs"}, "", view.RelationUnclear, false, "", ""},
		{"autofs on the host", []string{"0:21 / /net autofs"}, byPath("/net"), []string{"0:71 / /d nfs4"}, "/net", view.RelationUnclear, false, "", ""},
		{"below an autofs", []string{"0:21 / /net autofs"}, byPath("/net/a"), []string{"0:71 / /d nfs4"}, "/net/a", view.RelationUnclear, false, "", ""},
		{"autofs in the container", []string{"0:21 / /net autofs", "0:71 / /net nfs4"}, byPath("/net"), []string{"0:21 / /d autofs"}, "", view.RelationUnclear, false, "", ""},
		{"another namespace than the kubelet's", nil, byFolder, []string{"0:70 / /d fuse.x"}, folder, view.RelationUnclear, false, "", ""},
		{"another pod", []string{"0:70 / /var/lib/kubelet/pods/1" + uid + "/volumes/" + csi + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationUnclear, false, "", ""},
		{"two roots of the kubelet that disagree", []string{"0:74 / /k/pods/" + uid + "/volumes/" + csi + " fuse.x", "0:75 / " + folder + " fuse.x"},
			byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationUnclear, false, "", ""},
		{"nothing in the container, a folder on the host", nil, byPath("/srv/x"), nil, "", view.RelationUnclear, false, "/", ""},

		// The host has no mount.
		{"emptyDir", []string{token}, emptyDir, []string{"8:1 " + pod + "/volumes/kubernetes.io~empty-dir/v /d ext4"}, "", view.RelationNone, false, "",
			pod + "/volumes/kubernetes.io~empty-dir/v"},
		{"emptyDir, subPath", []string{token}, emptyDir, []string{"8:1 " + pod + "/volumes/kubernetes.io~empty-dir/v/s /d ext4"}, "", view.RelationNone, false, "",
			pod + "/volumes/kubernetes.io~empty-dir/v/s"},
		{"never seen", []string{token}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationNone, false, "", ""},
		{"unmounted", []string{token}, byFolder, []string{"0:70 / /d fuse.x"}, folder, view.RelationGone, false, "", ""},
		{"hostPath unmounted", nil, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "/mnt/x", view.RelationGone, false, "", ""},

		// Another mount.
		{"mounted anew", []string{token, "0:71 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "", view.RelationOther, false, folder, folder},
		{"mounted anew on top", []string{token, "0:70 / " + folder + " fuse.x", "0:71 / " + folder + " fuse.x"}, byFolder, []string{"0:70 / /d fuse.x"}, "",
			view.RelationOther, false, folder, folder},
		{"hostPath mounted anew", []string{"0:71 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"0:70 / /d fuse.x"}, "", view.RelationOther, false, "/mnt/x", "/mnt/x"},
		{"missing in the container", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, nil, "", view.RelationOther, false, folder, ""},

		// The directory that is covered.
		{"bound before CSI mounted", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"8:1 " + folder + " /d ext4"}, "", view.RelationOther, true, folder, folder},
		{"bound before, subPath", []string{token, "0:70 / " + folder + " fuse.x"}, byFolder, []string{"8:1 " + folder + "/s /d ext4"}, "", view.RelationOther, true, folder, folder + "/s"},
		{"bound before an unknown plugin mounted", []string{"0:70 / " + pod + "/volumes/x~y/v cifs"}, probes.HostVolume{Folder: "x~y/v"},
			[]string{"8:1 " + pod + "/volumes/x~y/v /d ext4"}, "", view.RelationOther, true, pod + "/volumes/x~y/v", pod + "/volumes/x~y/v"},
		{"kubelet on a disk of its own", []string{disk, "8:2 / /var/lib/kubelet xfs", token, "0:70 / " + folder + " fuse.x"}, byFolder,
			[]string{"8:2 /pods/" + uid + "/volumes/" + csi + " /d xfs"}, "", view.RelationOther, true, folder, folder},
		{"hostPath bound before", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.RelationOther, true, "/mnt/x", "/mnt/x"},
		{"hostPath inside, bound before", []string{"0:70 / /mnt/x fuse.x"}, byPath("/mnt/x/y"), []string{"8:1 /mnt/x/y /d ext4"}, "", view.RelationOther, true, "/mnt/x", "/mnt/x/y"},
		{"hostPath bound before, a bind of the same disk", []string{disk, "8:1 /disks/7 /mnt/x ext4"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "",
			view.RelationOther, true, "/mnt/x", "/mnt/x"},
		{"beneath two mounts", []string{"0:69 / /mnt tmpfs", "0:70 / /mnt/x fuse.x"}, byPath("/mnt/x"), []string{"8:1 /mnt/x /d ext4"}, "", view.RelationOther, true, "/mnt/x", "/mnt/x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.host
			if len(lines) == 0 || strings.Fields(lines[0])[2] != "/" {
				lines = append([]string{disk}, lines...)
			}
			seen := mountAt(t, "/d", row.container...)
			seen.LastHostPoint = row.before
			volume := view.VolumeMount{Name: "v", Host: row.volume, ContainerMount: seen}
			s := view.NewHostTable(newTable(t, lines...)).MatchVolumes(uid, []view.VolumeMount{volume})[0]
			if s.Relation != row.want || s.Covered != row.beneath || s.Mount.MountPoint != row.at || s.RootPath != row.folder || s.Inferred {
				t.Errorf("got %+v", s)
			}
			if row.volume.Path != "" || s.Covered || !seen.Found {
				return
			}
			// A claim of the same volume is found by the device, or not at all.
			volume.Host = probes.HostVolume{Claim: true}
			c := view.NewHostTable(newTable(t, lines...)).MatchVolumes(uid, []view.VolumeMount{volume})[0]
			if c.Relation != row.want && c.Relation != view.RelationUnclear && !c.Inferred {
				t.Errorf("as a claim: %+v", c)
			}
		})
	}
}

func TestHostThatProvesNothing(t *testing.T) {
	malformed := newTable(t, disk, "0:71 / /mnt/x fuse.x")
	malformed.Malformed = 1
	seen := mountAt(t, "/d", "0:70 / /d fuse.x")
	for name, h := range map[string]*view.HostTable{"none": view.NewHostTable(nil), "empty": view.NewHostTable(newTable(t)), "malformed": view.NewHostTable(malformed)} {
		s := h.MatchVolumes(uid, []view.VolumeMount{{Host: probes.HostVolume{Path: "/mnt/x"}, ContainerMount: seen}})[0]
		if b := h.MatchBelow(s, "a", seen); s != (view.HostMatch{}) || b != (view.HostMatch{}) {
			t.Errorf("%s: %+v %+v", name, s, b)
		}
	}
}

func TestClaims(t *testing.T) {
	claim := probes.HostVolume{Claim: true}
	folder := func(name string) string { return pod + "/volumes/kubernetes.io~csi/" + name + "/mount" }
	before := func(s view.ContainerMount, path string) view.ContainerMount { s.LastHostPoint = path; return s }
	fuse := func(device string) view.ContainerMount { return mountAt(t, "/d", device+" / /d fuse.x") }
	type want struct {
		relation view.Relation
		at       string
		guess    bool
	}
	for _, row := range []struct {
		name    string
		host    []string
		volumes []view.VolumeMount
		want    []want
	}{
		{"by the device", []string{"0:70 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "b", Host: claim, ContainerMount: fuse("0:71")}, {Name: "a", ContainerMount: fuse("0:70")}},
			[]want{{view.RelationSame, folder("b"), false}, {view.RelationSame, folder("a"), false}}},
		{"where it was before", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: before(fuse("0:70"), folder("a"))}},
			[]want{{view.RelationOther, folder("a"), false}}},
		{"gone from where it was before", []string{token, "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: before(fuse("0:70"), folder("a"))}},
			[]want{{view.RelationGone, "", false}}},
		{"left over", []string{token, "0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}, {Name: "b", Host: claim, ContainerMount: fuse("0:71")}},
			[]want{{view.RelationOther, folder("a"), true}, {view.RelationSame, folder("b"), false}}},
		{"left over by a volume that is named", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}, {Name: "b", Host: probes.HostVolume{Folder: "kubernetes.io~csi/b/mount"}, ContainerMount: fuse("0:69")}},
			[]want{{view.RelationOther, folder("a"), true}, {view.RelationOther, folder("b"), false}}},
		{"left over for two containers", []string{"0:72 / " + folder("a") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}, {Name: "a", Host: claim, ContainerMount: view.ContainerMount{}}},
			[]want{{view.RelationOther, folder("a"), true}, {view.RelationOther, folder("a"), true}}},
		{"left over, but of another kind", []string{"0:72 / " + folder("a") + " nfs4"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}}, []want{{view.RelationUnclear, "", false}}},
		{"two left over", []string{"0:72 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}}, []want{{view.RelationUnclear, "", false}}},
		{"two claims left", []string{"0:72 / " + folder("a") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}, {Name: "b", Host: claim, ContainerMount: fuse("0:71")}},
			[]want{{view.RelationUnclear, "", false}, {view.RelationUnclear, "", false}}},
		{"no claim's: a token, an emptyDir", []string{token, "0:72 / " + pod + "/volumes/kubernetes.io~empty-dir/e fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}}, []want{{view.RelationUnclear, "", false}}},
		{"one server has both", []string{"0:70 / " + folder("a") + " nfs4", "0:70 / " + folder("b") + " nfs4"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: fuse("0:70")}}, []want{{view.RelationSame, folder("a"), false}}},
		{"one disk has both in folders", []string{"8:7 /x " + folder("a") + " ext4", "8:7 /y " + folder("b") + " ext4"},
			[]view.VolumeMount{{Name: "b", Host: claim, ContainerMount: mountAt(t, "/d", "8:7 /y/sub /d ext4")}}, []want{{view.RelationSame, folder("b"), false}}},
		{"bound before it was mounted", []string{disk, "0:70 / " + folder("a") + " fuse.x", "0:71 / " + folder("b") + " fuse.x"},
			[]view.VolumeMount{{Name: "a", Host: claim, ContainerMount: mountAt(t, "/d", "8:1 "+folder("a")+" /d ext4")}}, []want{{view.RelationOther, folder("a"), false}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			lines := row.host
			if lines[0] != disk {
				lines = append([]string{disk}, lines...)
			}
			for i, s := range view.NewHostTable(newTable(t, lines...)).MatchVolumes(uid, row.volumes) {
				if got := (want{s.Relation, s.Mount.MountPoint, s.Inferred}); got != row.want[i] {
					t.Errorf("%d: got %+v, want %+v", i, got, row.want[i])
				}
			}
		})
	}
}

// If the container's line could be that of several mounts, the absence of one later proves nothing.
func TestAmbiguousIsNotOwn(t *testing.T) {
	h := view.NewHostTable(newTable(t, disk, "0:70 / "+pod+"/volumes/kubernetes.io~csi/a/mount nfs4", "0:70 / "+pod+"/volumes/kubernetes.io~csi/b/mount nfs4"))
	seen := mountAt(t, "/d", "0:70 / /d nfs4")
	if s := h.MatchVolumes(uid, []view.VolumeMount{{Name: "a", ContainerMount: seen}})[0]; s.Relation != view.RelationSame || s.AtVolume {
		t.Errorf("%+v", s)
	}
	h = view.NewHostTable(newTable(t, disk, "0:70 / "+pod+"/volumes/"+csi+" nfs4"))
	for _, host := range []probes.HostVolume{{Claim: true}, {Folder: csi}} {
		if s := h.MatchVolumes(uid, []view.VolumeMount{{Name: "a", Host: host, ContainerMount: seen}})[0]; s.Relation != view.RelationSame || !s.AtVolume {
			t.Errorf("%+v: %+v", host, s)
		}
	}
	if s := h.MatchVolumes(uid, []view.VolumeMount{{Host: probes.HostVolume{Path: "/x"}, ContainerMount: mountAt(t, "/d", "8:1 /x /d ext4")}})[0]; s.AtVolume {
		t.Errorf("a plain folder: %+v", s)
	}
}
