package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/cluster/internal/build"
	"github.com/mountwarden/mountwarden/test/cluster/internal/node"
	"github.com/mountwarden/mountwarden/test/cluster/internal/supervise"
)

// run calls the program with a cache of its own, where no cluster runs.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(append([]string{"--cache", t.TempDir()}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestWhereNoClusterRuns(t *testing.T) {
	for _, args := range [][]string{
		{"status"}, {"kubectl", "get", "pods"}, {"exec", "--", "true"}, {"load", "x.tar"},
		{"stop", "etcd"}, {"start", "etcd"},
		{"--name", "other", "kubectl", "--namespace", "x", "get", "pods", "-o", "wide"},
	} {
		if out, err := run(t, args...); !errors.Is(err, supervise.ErrDown) {
			t.Errorf("%v: %s %v", args, out, err)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want error
	}{
		{[]string{"--name", "Not/good", "status"}, node.ErrLayout},
		{[]string{"--cache", "/run/x", "status"}, node.ErrLayout},
		{[]string{"build", "docker"}, build.ErrUnknownTool},
		{[]string{"bin", "docker"}, build.ErrUnknownTool},
		{[]string{"logs", "../../etc/passwd"}, os.ErrNotExist},
	} {
		if out, err := run(t, c.args...); !errors.Is(err, c.want) {
			t.Errorf("%v: %s %v", c.args, out, err)
		}
	}
	for _, args := range [][]string{{"up", "x"}, {"logs"}, {"exec"}, {"load"}, {"bin"}, {"nonsense"}} {
		if out, err := run(t, args...); err == nil {
			t.Errorf("%v: no error: %s", args, out)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 1}, {exitError{7}, 7}, {fmt.Errorf("wrapped: %w", exitError{3}), 3},
		{fmt.Errorf("load x: %w", &exec.ExitError{}), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: got %d", c.err, got)
		}
	}
}

func TestInsideEnvHasNoProxy(t *testing.T) {
	env := []string{"A=1", "http_proxy=x", "HTTPS_PROXY=y", "No_Proxy=z", "PROXY_NOT=1"}
	if got := insideEnv(env); !slices.Equal(got, []string{"A=1", "PROXY_NOT=1"}) {
		t.Errorf("got %v", got)
	}
	if env[1] != "http_proxy=x" {
		t.Error("the argument was changed")
	}
}

func newApp(t *testing.T) *app {
	t.Helper()
	layout, err := node.NewLayout("unit", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(layout.Logs(), 0o755); err != nil {
		t.Fatal(err)
	}
	return &app{name: "unit", cache: layout.Cache, layout: layout}
}

// printed is a writer that passes on what it is given.
type printed chan string

func (p printed) Write(b []byte) (int, error) {
	p <- string(b)
	return len(b), nil
}

func TestLogsFollow(t *testing.T) {
	a := newApp(t)
	path := supervise.LogFile(a.layout.Logs(), "etcd")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	fmt.Fprint(log, "first\n")
	ctx, cancel := context.WithCancel(context.Background())
	out, ended := make(printed), make(chan error)
	go func() { ended <- a.printLog(ctx, out, "etcd", true) }()
	if got := <-out; got != "first\n" {
		t.Errorf("got %q", got)
	}
	fmt.Fprint(log, "second\n")
	if got := <-out; got != "second\n" {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("an interrupt is no error: %v", err)
	}
}

func TestLogsNameWhatThereIs(t *testing.T) {
	a := newApp(t)
	for _, name := range []string{"etcd", "kubelet"} {
		if err := os.WriteFile(supervise.LogFile(a.layout.Logs(), name), []byte(name+" says\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := a.printLog(context.Background(), &out, "etcd", false); err != nil || out.String() != "etcd says\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := a.printLog(context.Background(), &out, "etdc", false); err == nil || !strings.Contains(err.Error(), "etcd, kubelet") {
		t.Errorf("got %v", err)
	}
}

func TestStatusNamesWhatIsWrong(t *testing.T) {
	at := time.Now().Add(-90 * time.Second)
	good := supervise.ComponentStatus{Name: "etcd", State: supervise.Running, PID: 7, Since: at}
	dead := supervise.ComponentStatus{Name: "kubelet", State: supervise.Died, Ended: "exit status 1", LogTail: "the reason", Since: at}
	stopped := supervise.ComponentStatus{Name: "kube-apiserver", State: supervise.Stopped, Since: at}
	slow := supervise.ComponentStatus{Name: "kube-scheduler", State: supervise.Starting, NotYet: "refused", Since: at}
	st := supervise.Status{Components: []supervise.ComponentStatus{good, dead, stopped, slow}}
	var out bytes.Buffer
	if err := printStatus(&out, st); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"etcd            running   1m30s  7", "kubelet         died      1m30s       exit status 1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if err := failed(st); !errors.Is(err, errComponent) || !strings.Contains(err.Error(), "kubelet: exit status 1; the end of its log:\nthe reason") {
		t.Errorf("got %v", err)
	}
	if err := notRunning(st); !errors.Is(err, errNotRunning) || !strings.Contains(err.Error(), "kube-apiserver is stopped") {
		t.Errorf("got %v", err)
	}
	if got := notYet(st); got != "\n  kube-scheduler: refused" {
		t.Errorf("got %q", got)
	}
	st.Components = st.Components[:1]
	if err := errors.Join(failed(st), notRunning(st)); err != nil {
		t.Errorf("all is well, but: %v", err)
	}
}

func TestBusyboxFiles(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "busybox")
	script := "#!/bin/sh\n[ \"$1\" = --list-full ] && printf 'bin/busybox\\nbin/sh\\nusr/bin/[\\n'\n"
	if err := os.WriteFile(fake, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := busyboxFiles(context.Background(), fake)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		if _, twice := got[f.Path]; twice {
			t.Errorf("%s twice", f.Path)
		}
		got[f.Path] = f.Link
	}
	for path, link := range map[string]string{"/bin/busybox": "", "/bin/sh": "/bin/busybox", "/usr/bin/[": "/bin/busybox", "/tmp": ""} {
		if at, ok := got[path]; !ok || at != link {
			t.Errorf("%s: there %v, link %q", path, ok, at)
		}
	}
	if _, err := busyboxFiles(context.Background(), "/no/such"); err == nil {
		t.Error("no error without busybox")
	}
}

func TestWipeKeepsTheLogsOnly(t *testing.T) {
	a := newApp(t)
	if err := os.MkdirAll(filepath.Join(a.layout.Kubelet(), "pods"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.wipe(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(a.layout.Dir())
	if err != nil || len(left) != 1 || left[0].Name() != "logs" {
		t.Errorf("left: %v %v", left, err)
	}
}
