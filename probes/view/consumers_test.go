package view_test

import (
	"slices"
	"testing"

	"github.com/mountwarden/mountwarden/probes/view"
)

func TestConsumers(t *testing.T) {
	const (
		pods   = "/var/lib/kubelet/pods/"
		other  = pods + "9f8e/volumes/kubernetes.io~csi/pv/mount"
		own    = pod + "/volumes/" + csi
		plugin = "/var/lib/kubelet/plugins/kubernetes.io/csi/"
		staged = plugin + "driver.example.com/5b3c/globalmount"
		legacy = plugin + "pv/pvc-1/globalmount"
	)
	for _, row := range []struct {
		name   string
		lines  []string
		device string
		staged string
		uids   []string
	}{
		{"nobody", []string{token}, "0:70", "", nil},
		{"no device", []string{token, "0:70 / " + own + " fuse.x"}, "", "", nil},
		{"part of a device", []string{token, "0:70 / " + own + " fuse.x"}, "0:7", "", nil},
		{"device that is none", []string{token, "0:70 / " + own + " fuse.x"}, "70", "", nil},
		{"not staged", []string{token, "0:70 / " + own + " fuse.x"}, "0:70", "", []string{uid}},
		{"staged", []string{token, "252:1 / " + staged + " ext4", "252:1 / " + own + " ext4"}, "252:1", staged, []string{uid}},
		{"staged as before 1.24", []string{"252:1 / " + legacy + " ext4", "252:1 / " + own + " ext4"}, "252:1", legacy, []string{uid}},
		{"staged, no pod", []string{token, "252:1 / " + staged + " ext4"}, "252:1", staged, nil},
		{"staged under another root", []string{"252:1 / /data/k/plugins/kubernetes.io/csi/d/5b/globalmount xfs", "252:1 / /data/k/pods/u/volumes/x~y/v xfs"},
			"252:1", "/data/k/plugins/kubernetes.io/csi/d/5b/globalmount", []string{"u"}},
		{"the root seen twice", []string{"252:1 / " + staged + " ext4", "252:1 / /copy" + staged + " ext4", "252:1 / " + own + " ext4", "252:1 / /copy" + own + " ext4"},
			"252:1", staged, []string{uid}},
		{"staged is another device", []string{"0:69 / " + staged + " fuse.x", "0:70 / " + own + " fuse.x"}, "0:70", "", []string{uid}},
		{"two pods", []string{"252:1 / " + staged + " ext4", "252:1 / " + own + " ext4", "252:1 / " + other + " ext4"}, "252:1", staged, []string{uid, "9f8e"}},
		{"two volumes of one pod", []string{"0:70 / " + own + " nfs4", "0:70 /b " + pod + "/volumes/kubernetes.io~csi/pv2/mount nfs4"}, "0:70", "", []string{uid}},
		{"other devices of other pods", []string{"0:70 / " + own + " fuse.x", "0:71 / " + other + " fuse.x"}, "0:70", "", []string{uid}},
		{"in-tree plugin", []string{"0:70 / " + pod + "/volumes/kubernetes.io~nfs/v nfs4"}, "0:70", "", []string{uid}},
		{"below a volume", []string{"0:70 / " + pod + "/volumes/kubernetes.io~empty-dir/e/in fuse.x"}, "0:70", "", []string{uid}},
		{"subPath beside its volume", []string{"0:70 / " + own + " fuse.x", "0:70 /s " + pod + "/volume-subpaths/v/app/0 fuse.x"}, "0:70", "", []string{uid}},
		{"subPath alone", []string{"0:70 /s " + pod + "/volume-subpaths/v/app/0 fuse.x"}, "0:70", "", nil},
		{"device of a raw block volume", []string{"0:6 /sdb " + plugin + "volumeDevices/pvc-1/dev/u devtmpfs"}, "0:6", "", nil},
		{"published block volume", []string{"0:6 /sdb " + plugin + "volumeDevices/publish/pvc-1 devtmpfs"}, "0:6", "", nil},
		{"another plugin's globalmount", []string{"252:1 / /var/lib/kubelet/plugins/kubernetes.io/iscsi/x/y/globalmount ext4"}, "252:1", "", nil},
		{"below a globalmount", []string{"0:70 / " + staged + "/in fuse.x"}, "0:70", "", nil},
		{"beside a globalmount", []string{"0:70 / " + plugin + "d/5b/globalmount2 fuse.x"}, "0:70", "", nil},
		{"no name before globalmount", []string{"0:70 / " + plugin + "d/globalmount fuse.x"}, "0:70", "", nil},
		{"a pod's folder itself", []string{"0:70 / " + pod + " fuse.x"}, "0:70", "", nil},
		{"the folder of all volumes", []string{"0:70 / " + pod + "/volumes fuse.x"}, "0:70", "", nil},
		{"a folder named pods elsewhere", []string{"0:70 / /srv/pods/a/b/volumes/c fuse.x"}, "0:70", "", nil},
		{"escaped names", []string{`0:70 / /var/lib/kube\040let/plugins/kubernetes.io/csi/d/5b/globalmount fuse.x`, `0:70 / /var/lib/kube\040let/pods/u/volumes/x~y/a\011b fuse.x`},
			"0:70", "/var/lib/kube let/plugins/kubernetes.io/csi/d/5b/globalmount", []string{"u"}},
		{"a kubelet inside a pod", []string{"0:70 / " + pod + "/volumes/kubernetes.io~empty-dir/k/pods/in/volumes/x~y/v fuse.x",
			"0:70 / " + pod + "/volumes/kubernetes.io~empty-dir/k/plugins/kubernetes.io/csi/d/5b/globalmount fuse.x"},
			"0:70", pod + "/volumes/kubernetes.io~empty-dir/k/plugins/kubernetes.io/csi/d/5b/globalmount", []string{uid, "in"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := view.NewHostTable(newTable(t, append([]string{disk}, row.lines...)...)).FindConsumers(row.device)
			if got.Staged != row.staged || !slices.Equal(got.PodUIDs, row.uids) {
				t.Errorf("got %+v, want %q and %q", got, row.staged, row.uids)
			}
		})
	}
	if c := (*view.HostTable)(nil).FindConsumers("0:70"); c.Staged != "" || c.PodUIDs != nil {
		t.Errorf("of no table: %+v", c)
	}
}
