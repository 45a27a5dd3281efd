package answer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveQuestion answers a question, without dropping anything of the test's.
func serveQuestion(t *testing.T, q ask.Question) ask.Answer {
	t.Helper()
	text, err := q.Encode()
	must(t, err)
	var out strings.Builder
	must(t, Serve(context.Background(), strings.NewReader(string(text)), &out, false))
	a, err := ask.ReadAnswer(strings.NewReader(out.String()))
	must(t, err)
	return a
}

// newHostRoot makes a /proc whose first process has a directory of the test as its root.
func newHostRoot(t *testing.T, files map[string]string) ask.Root {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, "root", path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "1"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "1/status"), []byte("Name:\tinit\nState:\tS (sleeping)\n"), 0o600))
	must(t, os.Symlink(filepath.Join(dir, "root"), filepath.Join(dir, "1/root")))
	return ask.Root{Proc: dir, PID: 1}
}

func TestServe(t *testing.T) {
	root := newHostRoot(t, map[string]string{"k/plugins_registry/x": "", "v/vol_data.json": `{"driverName":"d.example.com"}`})
	gone := ask.Root{Proc: root.Proc, PID: 7}
	for name, row := range map[string]struct {
		q      ask.Question
		want   probes.Readiness
		driver string
		detail string
	}{
		"driver of a volume":    {ask.Question{Volume: &ask.Volume{Root: root, Folder: "/v"}}, probes.Unclear, "d.example.com", ""},
		"no such volume":        {ask.Question{Volume: &ask.Volume{Root: root, Folder: "/w"}}, probes.Unclear, "", "no such file"},
		"volume of no host":     {ask.Question{Volume: &ask.Volume{Root: gone, Folder: "/v"}}, probes.Unclear, "", "process 7"},
		"driver not registered": {ask.Question{CSI: &ask.CSI{Root: root, Kubelets: []string{"/k"}, Certain: true, Driver: "d"}}, probes.NotReady, "", "not registered"},
		"driver of no host":     {ask.Question{CSI: &ask.CSI{Root: gone, Kubelets: []string{"/k"}, Certain: true, Driver: "d"}}, probes.Unclear, "", "process 7"},
		"server of the node":    {ask.Question{NFS: &ask.NFS{Server: "127.0.0.1"}}, probes.Unclear, "", "own network"},
	} {
		t.Run(name, func(t *testing.T) {
			a := serveQuestion(t, row.q)
			if a.MountReadiness.Readiness != row.want || a.Driver != row.driver || !strings.Contains(a.MountReadiness.Detail, row.detail) {
				t.Errorf("got %+v, want %s %q %q", a, row.want, row.driver, row.detail)
			}
		})
	}
}

func TestServeRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", "what is this", `{"nfs":{"server":"a"}} {"nfs":{"server":"a"}}`} {
		var out strings.Builder
		if err := Serve(context.Background(), strings.NewReader(text), &out, false); err == nil || out.Len() > 0 {
			t.Errorf("%q: %q, %v", text, out.String(), err)
		}
	}
	closed, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	must(t, closed.Close())
	err = Serve(context.Background(), strings.NewReader(`{"nfs":{"server":""}}`), closed, false)
	if !errors.Is(err, os.ErrClosed) {
		t.Errorf("nobody listens: %v", err)
	}
}

// What the kernel does not return from is left behind, and called unclear.
func TestCallWithin(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	began := time.Now()
	a := callWithin(context.Background(), 50*time.Millisecond, func(context.Context) ask.Answer { <-release; return ask.Answer{} })
	if a.MountReadiness.Readiness != probes.Unclear || !strings.Contains(a.MountReadiness.Detail, "50ms") || time.Since(began) > 20*time.Second {
		t.Errorf("%+v after %s", a, time.Since(began))
	}
	ready := ask.Answer{MountReadiness: probes.MountReadiness{Readiness: probes.Ready, Detail: "x"}}
	if got := callWithin(context.Background(), time.Hour, func(context.Context) ask.Answer { return ready }); got != ready {
		t.Errorf("%+v", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
