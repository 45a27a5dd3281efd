package view_test

import (
	"slices"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestPlace(t *testing.T) {
	const (
		kubelet = "/var/lib/kubelet"
		inline  = "kubernetes.io~csi/v/mount"
		folder  = pod + "/volumes/kubernetes.io~csi/"
		foreign = "0:90 / /data/k/pods/77/volumes/kubernetes.io~projected/token tmpfs"
	)
	byFolder := func(f string) probes.Volume { return probes.Volume{PodUID: uid, Host: probes.HostVolume{Folder: f}} }
	claim := func(device, fsType string) probes.Volume {
		return probes.Volume{PodUID: uid, Device: device, FSType: fsType, Host: probes.HostVolume{Claim: true}}
	}
	for _, row := range []struct {
		name     string
		lines    []string
		volume   probes.Volume
		kubelets []string
		certain  bool
		folder   string
		mount    string // the mount point
	}{
		{"inline, mounted", []string{token, "0:70 / " + pod + "/volumes/" + inline + " fuse.x"}, byFolder(inline), []string{kubelet}, true, folder + "v", ""},
		{"inline, not mounted", []string{token}, byFolder(inline), []string{kubelet}, true, folder + "v", ""},
		{"another pod's kubelet", []string{foreign}, byFolder(inline), []string{"/data/k"}, false, "/data/k/pods/" + uid + "/volumes/kubernetes.io~csi/v", ""},
		{"no pod in sight", nil, byFolder(inline), nil, false, "", ""},
		{"pod without a name", []string{foreign}, probes.Volume{Host: probes.HostVolume{Folder: inline}}, []string{"/data/k"}, false, "", ""},
		{"in-tree", []string{token}, byFolder("kubernetes.io~nfs/v"), []string{kubelet}, true, "", ""},
		{"hostPath", []string{token}, probes.Volume{PodUID: uid, Host: probes.HostVolume{Path: "/srv"}}, []string{kubelet}, true, "", ""},
		{"not known", []string{token}, probes.Volume{PodUID: uid}, []string{kubelet}, true, "", ""},

		{"claim by device", []string{token, "0:70 / " + folder + "a/mount fuse.x", "0:71 / " + folder + "b/mount fuse.x"}, claim("0:71", "fuse.x"),
			[]string{kubelet}, true, folder + "b", folder + "b/mount"},
		{"claim staged elsewhere, too", []string{token, "0:71 / /stage fuse.x", "0:71 / " + folder + "b/mount fuse.x"}, claim("0:71", "fuse.x"),
			[]string{kubelet}, true, folder + "b", "/stage"},
		{"claim, mounted anew", []string{token, "0:72 / " + folder + "a/mount fuse.x"}, claim("0:71", "fuse.x"), []string{kubelet}, true, folder + "a", ""},
		{"claim, not found in the container", []string{token, "0:72 / " + folder + "a/mount fuse.x"}, claim("", ""), []string{kubelet}, true, folder + "a", ""},
		{"claim, another kind of mount is left", []string{token, "0:72 / " + folder + "a/mount ext4"}, claim("0:71", "fuse.x"), []string{kubelet}, true, "", ""},
		{"claim, mounted anew, one of two", []string{token, "0:72 / " + folder + "a/mount fuse.x", "0:73 / " + folder + "b/mount fuse.x"}, claim("0:71", "fuse.x"),
			[]string{kubelet}, true, "", ""},
		{"claim, one of two kinds", []string{token, "0:72 / " + folder + "a/mount fuse.x", "0:73 / " + pod + "/volumes/kubernetes.io~nfs/b nfs4"}, claim("", ""),
			[]string{kubelet}, true, "", ""},
		{"claim of an in-tree plugin", []string{token, "0:73 / " + pod + "/volumes/kubernetes.io~nfs/b nfs4"}, claim("0:73", "nfs4"), []string{kubelet}, true, "",
			pod + "/volumes/kubernetes.io~nfs/b"},
		{"claim, the device is another pod's", []string{token, "0:71 / /var/lib/kubelet/pods/77/volumes/kubernetes.io~csi/b/mount fuse.x"}, claim("0:71", "fuse.x"),
			[]string{kubelet}, true, "", "/var/lib/kubelet/pods/77/volumes/kubernetes.io~csi/b/mount"},
		{"claim, unmounted", []string{token}, claim("0:71", "fuse.x"), []string{kubelet}, true, "", ""},

		{"the root seen twice", []string{token, "0:90 / /copy" + pod + "/volumes/kubernetes.io~projected/kube-api-access tmpfs"}, byFolder(inline),
			[]string{kubelet, "/copy" + kubelet}, true, folder + "v", ""},
		{"a kubelet inside the pod", []string{token, "0:70 / " + pod + "/volumes/kubernetes.io~empty-dir/k/pods/in/volumes/x~y/v fuse.x"}, byFolder(inline),
			[]string{kubelet}, true, folder + "v", ""},
		{"a kubelet inside another pod", []string{"0:70 / /k/pods/77/volumes/kubernetes.io~empty-dir/k/pods/in/volumes/x~y/v fuse.x"}, byFolder(""),
			[]string{"/k", "/k/pods/77/volumes/kubernetes.io~empty-dir/k"}, false, "", ""},
		{"more kubelets than are searched", []string{"0:1 / /a/pods/1/volumes/x~y/v t", "0:1 / /b/pods/1/volumes/x~y/v t", "0:1 / /c/pods/1/volumes/x~y/v t",
			"0:1 / /d/pods/1/volumes/x~y/v t", "0:1 / /e/pods/1/volumes/x~y/v t"}, byFolder(""), []string{"/a", "/b", "/c", "/d"}, false, "", ""},
		{"folders that are no pods", []string{"0:1 / /a/pods/1/x/volumes/v t", "0:1 / /a/pods/volumes/v t", "0:1 / /a/pods/1/volumes t"}, byFolder(""), nil, false, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := view.NewHostTable(newTable(t, append([]string{disk}, row.lines...)...)).LocateVolume(row.volume)
			if !slices.Equal(got.Kubelets, row.kubelets) || got.Certain != row.certain || got.VolumeDir != row.folder || got.Mount.MountPoint != row.mount {
				t.Errorf("got %+v, want %q %v %q %q", got, row.kubelets, row.certain, row.folder, row.mount)
			}
		})
	}
	if p := (*view.HostTable)(nil).LocateVolume(claim("0:71", "x")); p.Kubelets != nil || p.Certain || p.VolumeDir != "" {
		t.Errorf("of no table: %+v", p)
	}
}
