package backend

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

func TestCheckReadiness(t *testing.T) {
	claim := func(kind probes.BackendKind, fsType string) probes.Volume {
		return probes.Volume{Backend: probes.Backend{Kind: kind, Name: "fuse.x/source"}, FSType: fsType, Source: "s:/x", Host: probes.HostVolume{Claim: true}}
	}
	inline := probes.Volume{Host: probes.HostVolume{Folder: "kubernetes.io~csi/v/mount"}}
	in := func(folder string) view.VolumeOrigin {
		return view.VolumeOrigin{Kubelets: []string{"/k"}, Certain: true, VolumeDir: volumes + folder}
	}
	for name, row := range map[string]struct {
		volume probes.Volume
		place  view.VolumeOrigin
		want   probes.Readiness
		detail string
	}{
		"driver is ready":     {csiVolume("ready"), view.VolumeOrigin{}, probes.Ready, "fine"},
		"driver is not":       {csiVolume("not-ready"), view.VolumeOrigin{}, probes.NotReady, "not now"},
		"driver is unclear":   {csiVolume("unclear"), view.VolumeOrigin{}, probes.Unclear, "who knows"},
		"driver of a volume":  {inline, in("has ready"), probes.Ready, "fine"},
		"driver of a claim":   {claim(probes.BackendSource, "fuse.x"), in("has not-ready"), probes.NotReady, "not now"},
		"no name, but a path": {csiVolume(""), in("has ready"), probes.Ready, "fine"},
		"the name counts":     {csiVolume("not-ready"), in("has ready"), probes.NotReady, "not now"},

		"server is ready":           {nfsVolume("ready"), view.VolumeOrigin{}, probes.Ready, "fine"},
		"server is not":             {nfsVolume("not-ready"), view.VolumeOrigin{}, probes.NotReady, "not now"},
		"server of the mount":       {nfsVolume("ready"), view.VolumeOrigin{Mount: mountinfo.Mount{FSType: "nfs4", SuperOptions: "rw,addr=not-ready"}}, probes.NotReady, "not now"},
		"driver and server":         {claim(probes.BackendNFS, "nfs4"), in("has ready"), probes.Unclear, ""}, // "s" is no fake server
		"driver and no server":      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "ready"}, FSType: "nfs", Source: "not-ready:/x"}, view.VolumeOrigin{}, probes.NotReady, ""},
		"no driver and server":      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "not-ready"}, FSType: "nfs4", Source: "ready:/x"}, view.VolumeOrigin{}, probes.NotReady, ""},
		"both":                      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "ready"}, FSType: "nfs4", Source: "ready:/x"}, view.VolumeOrigin{}, probes.Ready, ""},
		"server nobody knows":       {probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS}, FSType: "nfs4"}, view.VolumeOrigin{}, probes.Unclear, "not known which NFS server"},
		"claim nobody knows":        {csiVolume(""), view.VolumeOrigin{}, probes.Unclear, "not known where the kubelet"},
		"inline, kubelet not known": {inline, view.VolumeOrigin{}, probes.Unclear, "not known where the kubelet"},
		"folder says nothing":       {inline, in("unclear"), probes.Unclear, "who knows"},
		"folder hides behind Ready": {inline, in("ready"), probes.Unclear, ""},
		"a pod's own":               {probes.Volume{Backend: probes.Backend{Kind: probes.BackendPod, Name: "u"}, FSType: "fuse.x"}, in("has ready"), probes.Unclear, "the pod itself"},
		"a source":                  {claim(probes.BackendSource, "fuse.x"), view.VolumeOrigin{Kubelets: []string{"/k"}}, probes.Unclear, "nobody to ask"},
		"nothing is known":          {probes.Volume{}, view.VolumeOrigin{}, probes.Unclear, "nobody to ask"},
		"another kind":              {probes.Volume{Backend: probes.Backend{Kind: "SMB", Name: "s"}}, view.VolumeOrigin{}, probes.Unclear, "nobody to ask"},
		"host, which path":          {probes.Volume{Backend: probes.Backend{Kind: probes.BackendHost, Name: "/x"}}, view.VolumeOrigin{}, probes.Unclear, "which folder"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newChecker(t, Options{}, &fakeHost{origin: row.place}).CheckReadiness(context.Background(), row.volume)
			if f.Readiness != row.want || !strings.Contains(f.Detail, row.detail) || f.Readiness == probes.NotReady && f.Detail == "" {
				t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, row.want, row.detail)
			}
		})
	}
}

func TestCheckReadinessOfHostMount(t *testing.T) {
	seen := map[string]probes.Observation{
		"/ok":     {Health: probes.Healthy, Warning: probes.WarningNoSpace},
		"/dead":   {Health: probes.Broken, Cause: probes.CauseDisconnected, Detail: "transport endpoint is not connected"},
		"/hang":   {Health: probes.Broken, Cause: probes.CauseHung, Detail: "no answer within 2s"},
		"/absent": {Detail: "no such file"},
	}
	h := &fakeHost{answer: func(_ context.Context, path string) probes.Observation { return seen[path] }}
	c := newChecker(t, Options{}, h)
	fresh := func(path string) probes.MountReadiness {
		return c.CheckReadiness(context.Background(), probes.Volume{Backend: probes.Backend{Kind: probes.BackendHost, Name: path}, Host: probes.HostVolume{Path: path}})
	}
	expectReadiness(t, fresh("/ok"), probes.Ready, `"/ok" is healthy`)
	expectReadiness(t, fresh("/dead"), probes.NotReady, `the host's mount at "/dead" is broken too: Disconnected: transport`)
	expectReadiness(t, fresh("/hang"), probes.NotReady, "Hung")
	expectReadiness(t, fresh("/absent"), probes.Unclear, "no such file")
	for range 5 {
		expectReadiness(t, fresh("/dead"), probes.NotReady, "")
	}
	if want := []string{"/ok", "/dead", "/hang", "/absent"}; !slices.Equal(h.asked, want) {
		t.Errorf("asked for %q, want %q", h.asked, want)
	}
}

// The driver of a volume is asked for once, and a driver is asked once for all its volumes.
func TestQuestionsAreShared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	h := &fakeHost{origin: view.VolumeOrigin{Kubelets: []string{"/k"}, Certain: true, VolumeDir: volumes + "has slow"}}
	c := newChecker(t, Options{ProcRoot: file}, h)
	c.queries.lifetime = patience
	answers := make(chan probes.MountReadiness)
	for range 20 {
		go func() { answers <- c.CheckReadiness(context.Background(), csiVolume("")) }()
	}
	for range 20 {
		expectReadiness(t, <-answers, probes.Ready, "at last")
	}
	h.origin.VolumeDir = volumes + "has slow" // of another pod, it would be
	expectReadiness(t, c.CheckReadiness(context.Background(), csiVolume("slow")), probes.Ready, "at last")
	text, err := os.ReadFile(file)
	must(t, err)
	if string(text) != "folder has slow\nslow\n" {
		t.Errorf("asked:\n%s", text)
	}
}

func TestDriversAreForgotten(t *testing.T) {
	d := newDriverCache()
	d.addDriver("a", "")
	for i := range maxDrivers {
		d.addDriver(strings.Repeat("x", i+1), "d")
	}
	if d.findDriver("x") != "d" || d.findDriver("a") != "" || len(d.byDir) != maxDrivers {
		t.Errorf("%d are known", len(d.byDir))
	}
	d.addDriver("b", "e")
	if d.findDriver("x") != "" || d.findDriver("b") != "e" || len(d.byDir) != 1 {
		t.Errorf("%d are known", len(d.byDir))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	plain := filepath.Join(t.TempDir(), "plain")
	must(t, os.WriteFile(plain, nil, 0o600))
	for name, row := range map[string]struct {
		opts Options
		want string
	}{
		"no host":         {Options{ProgramPath: exe}, "Host is nil"},
		"no program":      {Options{Host: &fakeHost{}, ProgramPath: "/nowhere"}, `program "/nowhere"`},
		"no executable":   {Options{Host: &fakeHost{}, ProgramPath: plain}, "executable"},
		"a folder":        {Options{Host: &fakeHost{}, ProgramPath: t.TempDir()}, "executable"},
		"not beside":      {Options{Host: &fakeHost{}}, "mountwarden-backend"},
		"no process":      {Options{Host: &fakeHost{}, ProgramPath: exe, HostPID: -1}, "HostPID is -1"},
		"less than none":  {Options{Host: &fakeHost{}, ProgramPath: exe, MaxActive: -2}, "MaxActive -2"},
		"everything else": {Options{}, "Host is nil"},
	} {
		if c, err := New(row.opts); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}
