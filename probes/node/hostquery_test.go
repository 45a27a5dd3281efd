package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

func TestProbeHost(t *testing.T) {
	n := newFakeNode(t, Options{})
	n.writeHostTable(token, "0:70 /mnt/x fuse.x", "0:71 /mnt/dead fuse.x", "0:72 /hang fuse.x", "8:7 /ro ext4 / ro", "8:8 /error ext4 / rw,emergency_ro",
		"0:73 /net autofs", "8:9 /off xfs / rw,shutdown", "0:74 /gone fuse.x", "8:9 /moved ext4")
	for path, want := range map[string]struct {
		health probes.Health
		cause  probes.Cause
		detail string
	}{
		"/mnt/x":         {probes.Healthy, "", ""},
		"/mnt/x/":        {probes.Healthy, "", ""},
		"/srv/folder":    {probes.Healthy, "", ""},
		"/ro":            {probes.Healthy, "", ""},
		"/mnt/dead":      {probes.Broken, probes.CauseDisconnected, "not connected"},
		"/link-to-mount": {probes.Healthy, "", ""}, // of the host's second mount
		"/error":         {probes.Broken, probes.CauseReadOnly, "error"},
		"/off":           {probes.Broken, probes.CauseIOError, "shut down"},
		"/net":           {probes.Unknown, "", "autofs"},
		"/absent":        {probes.Unknown, "", "no such file"},
		"/gone":          {probes.Unknown, "", "gone"},
		"/moved":         {probes.Unknown, "", "changed"},
		"relative":       {probes.Unknown, "", "not absolute"},
		"":               {probes.Unknown, "", "not absolute"},
	} {
		t.Run(path, func(t *testing.T) {
			o := n.ProbeHost(context.Background(), path, patience)
			expectObservation(t, o, want.health, want.cause, want.detail)
			if o.Target.Path != path || o.Started.IsZero() || o.Finished.Before(o.Started) {
				t.Errorf("%+v", o)
			}
		})
	}
	o := n.ProbeHost(context.Background(), "/hang", time.Second)
	expectObservation(t, o, probes.Broken, probes.CauseHung, "no answer")
	if o.Device != "0:72" || o.FSType != "fuse.x" {
		t.Errorf("%+v", o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if o := n.ProbeHost(ctx, "/mnt/x", patience); o.Health == probes.Broken {
		t.Errorf("a look that was given up proves nothing: %+v", o)
	}
}

func TestProbeHostOfNoHost(t *testing.T) {
	n := newFakeNode(t, Options{}, "0:70 /d fuse.x")
	expectObservation(t, n.ProbeHost(context.Background(), "/d", patience), probes.Unknown, "", "first process")
	n.writeHostTable("0:70 /d fuse.x")
	expectObservation(t, n.ProbeHost(context.Background(), "/d", patience), probes.Healthy, "", "")
	table := filepath.Join(n.root, "1", "mountinfo")
	for _, text := range []string{"", "what is this\n", "10 1 8:1 / / rw - ext4 disk rw\nwhat is this\n"} {
		must(t, os.WriteFile(table, []byte(text), 0o600))
		if o := n.ProbeHost(context.Background(), "/d", patience); o.Health == probes.Broken {
			t.Errorf("%q: %+v", text, o)
		}
	}
	must(t, os.RemoveAll(filepath.Join(n.root, "1")))
	expectObservation(t, n.ProbeHost(context.Background(), "/d", patience), probes.Unknown, "", "first process")
}

func TestConsumersAndLocateVolume(t *testing.T) {
	n := newFakeNode(t, Options{})
	v := probes.Volume{PodUID: uid, Device: "0:70", Host: probes.HostVolume{Claim: true}}
	if c, p := n.Consumers("0:70"), n.LocateVolume(v); c.Staged != "" || c.PodUIDs != nil || p.Kubelets != nil || p.VolumeDir != "" {
		t.Errorf("of no host: %+v %+v", c, p)
	}
	const staged = "/var/lib/kubelet/plugins/kubernetes.io/csi/d/5b/globalmount"
	n.writeHostTable(token, "0:70 "+staged+" fuse.x", "0:70 "+volume+" fuse.x")
	c, p := n.Consumers("0:70"), n.LocateVolume(v)
	if c.Staged != staged || !slices.Equal(c.PodUIDs, []string{uid}) {
		t.Errorf("%+v", c)
	}
	if !p.Certain || !slices.Equal(p.Kubelets, []string{"/var/lib/kubelet"}) || p.VolumeDir != filepath.Dir(volume) || p.Mount.MountPoint != staged {
		t.Errorf("%+v", p)
	}
	n.writeHostTable(token)
	if c := n.Consumers("0:70"); c.Staged != "" || c.PodUIDs != nil {
		t.Errorf("of a table that has changed: %+v", c)
	}
}
