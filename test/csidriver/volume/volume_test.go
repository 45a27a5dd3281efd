package volume

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func inline(pod, name string) Volume {
	return Volume{
		ID:   "csi-" + pod + "-" + name,
		Path: "/pods/" + pod + "/volumes/kubernetes.io~csi/" + name + "/mount",
		Pod:  Pod{Namespace: "ns", Name: pod, UID: "uid-" + pod},
	}
}

func saved(t *testing.T, volumes ...Volume) store {
	t.Helper()
	s := store{t.TempDir()}
	for _, v := range volumes {
		must(t, s.save(v))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsComeBack(t *testing.T) {
	full := inline("a", "data")
	full.ReadOnly, full.Staging = true, "/staging/x"
	full.Content = Content{
		Canary: "bird", Text: "tweet\n", Source: "bucket", OwnerOnly: true, CacheFor: time.Hour,
		Backend: "/backend", BackendGrace: time.Minute, Program: "rclone", URL: "http://192.0.2.1", Flags: "-v",
	}
	plain := inline("b", "data")
	s := saved(t, plain, full)
	for _, want := range []Volume{full, plain} {
		got, ok, err := s.load(want.Path)
		if err != nil || !ok || got != want {
			t.Errorf("got %+v, %t, %v, want %+v", got, ok, err, want)
		}
	}
	all, err := s.list()
	must(t, err)
	if len(all) != 2 || !slices.Contains(all, full) || !slices.Contains(all, plain) {
		t.Errorf("list: %+v", all)
	}
	must(t, s.remove(full.Path))
	must(t, s.remove(full.Path))
	if _, ok, err := s.load(full.Path); ok || err != nil {
		t.Errorf("after remove: got %t, %v", ok, err)
	}
}

func TestSaveReplaces(t *testing.T) {
	v := inline("a", "data")
	s := saved(t, v)
	v.Content.Text = "new"
	must(t, s.save(v))
	if got, _, err := s.load(v.Path); err != nil || got != v {
		t.Errorf("got %+v, %v, want %+v", got, err, v)
	}
	if parts, err := filepath.Glob(filepath.Join(s.folder(v.Path), "*.new")); err != nil || len(parts) > 0 {
		t.Errorf("parts %v are left, %v", parts, err)
	}
}

func TestTornRecordIsNamed(t *testing.T) {
	v := inline("a", "data")
	s := saved(t, v)
	file := filepath.Join(s.folder(v.Path), recordFile)
	must(t, os.WriteFile(file, []byte(`{"id":`), 0o600))
	if _, _, err := s.load(v.Path); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("load: got %v, want an error that names %s", err, file)
	}
	if _, err := s.list(); err == nil {
		t.Error("list hides a torn record")
	}
}

// unix(7) allows 107 bytes, of which the default folder takes most.
func TestControlSocketsFit(t *testing.T) {
	s := store{"/var/lib/kubelet/plugins/faultfs.test.mountwarden.io/volumes"}
	if path := s.control("/" + strings.Repeat("long/", 100)); len(path) > 107 {
		t.Errorf("%s has %d bytes", path, len(path))
	}
}

func TestFind(t *testing.T) {
	bindA, bindB := inline("c", "pv"), inline("d", "pv")
	bindA.Staging, bindB.Staging = "/staging/pv/globalmount", "/staging/pv/globalmount"
	staged := Volume{ID: "pv-id", Path: "/staging/pv/globalmount"}
	s := saved(t, inline("a", "data"), inline("a", "logs"), inline("b", "data"), bindA, bindB, staged)
	for name, c := range map[string]struct{ pod, volume, path string }{
		"pod and volume":         {"a", "logs", inline("a", "logs").Path},
		"pod with namespace":     {"ns/a", "data", inline("a", "data").Path},
		"pod alone":              {"b", "", inline("b", "data").Path},
		"volume alone":           {"", "logs", inline("a", "logs").Path},
		"CSI id":                 {"", "csi-b-data", inline("b", "data").Path},
		"id of a staged volume":  {"", "pv-id", staged.Path},
		"bind leads to staging":  {"c", "pv", staged.Path},
		"two binds, one staging": {"", "pv", staged.Path},
	} {
		client, err := Find(s.dir, c.pod, c.volume)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := client.Socket(), s.control(c.path); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	for name, c := range map[string]struct{ pod, volume string }{
		"many":            {"", ""},
		"many of one pod": {"a", ""},
		"no pod":          {"x", "data"},
		"no volume":       {"a", "x"},
		"other namespace": {"other/a", "data"},
	} {
		if _, err := Find(s.dir, c.pod, c.volume); !errors.Is(err, ErrNoMatch) || !strings.Contains(err.Error(), "ns/a data") {
			t.Errorf("%s: got %v, want ErrNoMatch that lists what there is", name, err)
		}
	}
	if _, err := Find(t.TempDir(), "", ""); !errors.Is(err, ErrNoMatch) {
		t.Errorf("without records: got %v, want ErrNoMatch", err)
	}
}

func TestSameVolume(t *testing.T) {
	v := inline("a", "data")
	other := v
	other.Pod = Pod{Name: "someone else"}
	if !v.sameAs(other) {
		t.Error("the pod counts, but should not")
	}
	for name, change := range map[string]func(*Volume){
		"id":       func(v *Volume) { v.ID = "x" },
		"staging":  func(v *Volume) { v.Staging = "/x" },
		"readOnly": func(v *Volume) { v.ReadOnly = true },
		"content":  func(v *Volume) { v.Content.Text = "x" },
	} {
		other := v
		change(&other)
		if v.sameAs(other) {
			t.Errorf("%s does not count, but should", name)
		}
	}
}

func TestOneOperationAPath(t *testing.T) {
	m := NewManager(Options{Dir: t.TempDir()})
	release, err := m.lock("/a")
	must(t, err)
	if _, err := m.lock("/a"); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "/a") {
		t.Errorf("second lock: got %v, want ErrBusy that names the path", err)
	}
	if err := m.Unmount("/a"); !errors.Is(err, ErrBusy) {
		t.Errorf("Unmount meanwhile: got %v, want ErrBusy", err)
	}
	other, err := m.lock("/b")
	must(t, err)
	other()
	release()
	release, err = m.lock("/a")
	must(t, err)
	release()
}

func TestRefusalReleasesThePath(t *testing.T) {
	v := inline("a", "data")
	m := &Manager{store: saved(t, v), busy: map[string]bool{}}
	other := v
	other.ID = "other"
	for range 2 {
		if _, err := m.claim(other); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), v.ID) {
			t.Errorf("got %v, want ErrConflict that names who is there", err)
		}
	}
	release, err := m.claim(v)
	must(t, err)
	release()
}
