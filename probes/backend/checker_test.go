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

func TestFresh(t *testing.T) {
	claim := func(kind probes.BackendKind, fsType string) probes.Volume {
		return probes.Volume{Backend: probes.Backend{Kind: kind, Name: "fuse.x/source"}, FSType: fsType, Source: "s:/x", Host: probes.HostVolume{Claim: true}}
	}
	inline := probes.Volume{Host: probes.HostVolume{Folder: "kubernetes.io~csi/v/mount"}}
	in := func(folder string) view.Place {
		return view.Place{Kubelets: []string{"/k"}, Certain: true, Folder: volumes + folder}
	}
	for name, row := range map[string]struct {
		volume probes.Volume
		place  view.Place
		want   probes.Readiness
		detail string
	}{
		"driver is ready":     {csi("ready"), view.Place{}, probes.Ready, "fine"},
		"driver is not":       {csi("not-ready"), view.Place{}, probes.NotReady, "not now"},
		"driver is unclear":   {csi("unclear"), view.Place{}, probes.Unclear, "who knows"},
		"driver of a volume":  {inline, in("has ready"), probes.Ready, "fine"},
		"driver of a claim":   {claim(probes.BackendSource, "fuse.x"), in("has not-ready"), probes.NotReady, "not now"},
		"no name, but a path": {csi(""), in("has ready"), probes.Ready, "fine"},
		"the name counts":     {csi("not-ready"), in("has ready"), probes.NotReady, "not now"},

		"server is ready":           {nfs("ready"), view.Place{}, probes.Ready, "fine"},
		"server is not":             {nfs("not-ready"), view.Place{}, probes.NotReady, "not now"},
		"server of the mount":       {nfs("ready"), view.Place{Mount: mountinfo.Mount{FSType: "nfs4", SuperOptions: "rw,addr=not-ready"}}, probes.NotReady, "not now"},
		"driver and server":         {claim(probes.BackendNFS, "nfs4"), in("has ready"), probes.Unclear, ""}, // "s" is no server that pretends
		"driver and no server":      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "ready"}, FSType: "nfs", Source: "not-ready:/x"}, view.Place{}, probes.NotReady, ""},
		"no driver and server":      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "not-ready"}, FSType: "nfs4", Source: "ready:/x"}, view.Place{}, probes.NotReady, ""},
		"both":                      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "ready"}, FSType: "nfs4", Source: "ready:/x"}, view.Place{}, probes.Ready, ""},
		"server nobody knows":       {probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS}, FSType: "nfs4"}, view.Place{}, probes.Unclear, "not known which NFS server"},
		"claim nobody knows":        {csi(""), view.Place{}, probes.Unclear, "not known where the kubelet"},
		"inline, kubelet not known": {inline, view.Place{}, probes.Unclear, "not known where the kubelet"},
		"folder says nothing":       {inline, in("unclear"), probes.Unclear, "who knows"},
		"folder hides behind Ready": {inline, in("ready"), probes.Unclear, ""},
		"a pod's own":               {probes.Volume{Backend: probes.Backend{Kind: probes.BackendPod, Name: "u"}, FSType: "fuse.x"}, in("has ready"), probes.Unclear, "the pod itself"},
		"a source":                  {claim(probes.BackendSource, "fuse.x"), view.Place{Kubelets: []string{"/k"}}, probes.Unclear, "nobody to ask"},
		"nothing is known":          {probes.Volume{}, view.Place{}, probes.Unclear, "nobody to ask"},
		"another kind":              {probes.Volume{Backend: probes.Backend{Kind: "SMB", Name: "s"}}, view.Place{}, probes.Unclear, "nobody to ask"},
		"host, which path":          {probes.Volume{Backend: probes.Backend{Kind: probes.BackendHost, Name: "/x"}}, view.Place{}, probes.Unclear, "which folder"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newChecker(t, Options{}, &fakeHost{place: row.place}).Fresh(context.Background(), row.volume)
			if f.Readiness != row.want || !strings.Contains(f.Detail, row.detail) || f.Readiness == probes.NotReady && f.Detail == "" {
				t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, row.want, row.detail)
			}
		})
	}
}

func TestFreshOfHost(t *testing.T) {
	seen := map[string]probes.Observation{
		"/ok":     {Health: probes.Healthy, Warning: probes.WarningNoSpace},
		"/dead":   {Health: probes.Broken, Cause: probes.CauseDisconnected, Detail: "transport endpoint is not connected"},
		"/hang":   {Health: probes.Broken, Cause: probes.CauseHung, Detail: "no answer within 2s"},
		"/absent": {Detail: "no such file"},
	}
	h := &fakeHost{answer: func(_ context.Context, path string) probes.Observation { return seen[path] }}
	c := newChecker(t, Options{}, h)
	fresh := func(path string) probes.Freshness {
		return c.Fresh(context.Background(), probes.Volume{Backend: probes.Backend{Kind: probes.BackendHost, Name: path}, Host: probes.HostVolume{Path: path}})
	}
	expect(t, fresh("/ok"), probes.Ready, `"/ok" is healthy`)
	expect(t, fresh("/dead"), probes.NotReady, `the host's mount at "/dead" is broken too: Disconnected: transport`)
	expect(t, fresh("/hang"), probes.NotReady, "Hung")
	expect(t, fresh("/absent"), probes.Unclear, "no such file")
	for range 5 {
		expect(t, fresh("/dead"), probes.NotReady, "")
	}
	if want := []string{"/ok", "/dead", "/hang", "/absent"}; !slices.Equal(h.asked, want) {
		t.Errorf("asked for %q, want %q", h.asked, want)
	}
}

// Which driver a volume has is asked once, whoever needs it; the driver is asked once for all its volumes.
func TestQuestionsAreShared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	must(t, os.WriteFile(file, nil, 0o600))
	h := &fakeHost{place: view.Place{Kubelets: []string{"/k"}, Certain: true, Folder: volumes + "has slow"}}
	c := newChecker(t, Options{ProcRoot: file}, h)
	c.desk.keep = patience
	answers := make(chan probes.Freshness)
	for range 20 {
		go func() { answers <- c.Fresh(context.Background(), csi("")) }()
	}
	for range 20 {
		expect(t, <-answers, probes.Ready, "at last")
	}
	h.place.Folder = volumes + "has slow" // of another pod, it would be
	expect(t, c.Fresh(context.Background(), csi("slow")), probes.Ready, "at last")
	text, err := os.ReadFile(file)
	must(t, err)
	if string(text) != "folder has slow\nslow\n" {
		t.Errorf("asked:\n%s", text)
	}
}

func TestDriversAreForgotten(t *testing.T) {
	d := newDrivers()
	d.note("a", "")
	for i := range maxDrivers {
		d.note(strings.Repeat("x", i+1), "d")
	}
	if d.of("x") != "d" || d.of("a") != "" || len(d.byFolder) != maxDrivers {
		t.Errorf("%d are known", len(d.byFolder))
	}
	d.note("b", "e")
	if d.of("x") != "" || d.of("b") != "e" || len(d.byFolder) != 1 {
		t.Errorf("%d are known", len(d.byFolder))
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
