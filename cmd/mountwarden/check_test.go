package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/probes"
)

// workerFolder is where this run of the tests has its worker.
func workerFolder() string {
	return filepath.Join(os.TempDir(), fmt.Sprint("mountwarden-test-", os.Getpid()))
}

// build makes the program that touches mounts, once.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workerFolder(), "mountwarden-probe")
	text, err := exec.Command("go", "build", "-o", path, "../mountwarden-probe").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the worker: %w\n%s", err, text)
	}
	return path, err
})

func worker(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckHealthy(t *testing.T) {
	w := worker(t)
	stdout, stderr, code := run(t, "check", "--worker-path", w, "/", t.TempDir())
	if code != exitHealthy || stderr != "" || strings.Count(stdout, " Healthy\n") != 2 || !strings.HasPrefix(stdout, `"/" `) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestCheckTmpfs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a tmpfs")
	}
	path := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("test", path, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			t.Error(err)
		}
	})
	stdout, stderr, code := run(t, "check", "--worker-path", worker(t), "--output", "json", path)
	var got line
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %q %q", err, stdout, stderr)
	}
	if code != exitHealthy || got.Path != path || got.Health != "Healthy" || got.FSType != "tmpfs" || got.Seconds <= 0 {
		t.Errorf("exit code %d, %+v", code, got)
	}
}

func TestCheckWhatIsNotThere(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	stdout, _, code := run(t, "check", "--worker-path", worker(t), "/", absent)
	if code != exitUnknown || !strings.Contains(stdout, `"`+absent+`" Unknown`) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// With --wait an init container holds back its app until the mount is there.
func TestCheckWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later")
	w := worker(t)
	if _, _, code := run(t, "check", "--worker-path", w, path); code != exitUnknown {
		t.Fatalf("exit code %d before it is there", code)
	}
	made := make(chan error, 1)
	time.AfterFunc(500*time.Millisecond, func() { made <- os.Mkdir(path, 0o755) })
	stdout, _, code := run(t, "check", "--worker-path", w, "--wait", "1m", path)
	if code != exitHealthy {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
}

func TestCheckWaitsNoLongerThanAsked(t *testing.T) {
	began := time.Now()
	_, _, code := run(t, "check", "--worker-path", worker(t), "--wait", "1500ms", filepath.Join(t.TempDir(), "never"))
	if took := time.Since(began); code != exitUnknown || took < 1500*time.Millisecond {
		t.Errorf("exit code %d after %s", code, took)
	}
}

func TestCheckStopsWhenItIsToldTo(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	cmd := root()
	cmd.SetOut(io.Discard)
	cmd.SetArgs([]string{"check", "--worker-path", worker(t), "--wait", "1h", filepath.Join(t.TempDir(), "never")})
	var exit exitError
	if err := cmd.ExecuteContext(ctx); !errors.As(err, &exit) || exit.code != exitUnknown {
		t.Errorf("got %v, want exit code 3", err)
	}
}

func TestExitCode(t *testing.T) {
	ok, bad, lost := probes.Observation{Health: probes.Healthy}, probes.Observation{Health: probes.Broken}, probes.Observation{}
	for _, tc := range []struct {
		seen []probes.Observation
		want int
	}{
		{[]probes.Observation{ok, ok}, exitHealthy},
		{[]probes.Observation{ok, lost}, exitUnknown},
		{[]probes.Observation{lost, ok}, exitUnknown},
		{[]probes.Observation{lost, bad, ok}, exitUnhealthy},
		{[]probes.Observation{bad, lost}, exitUnhealthy},
	} {
		if got := exitCode(tc.seen); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.seen, got, tc.want)
		}
	}
}

// The keys of the JSON lines are an API; the text must not be taken over by a file system's words.
func TestCheckOutput(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	broken := probes.Observation{
		Target: probes.Target{Path: "/a\nb"}, Health: probes.Broken, Cause: probes.CauseDisconnected, Errno: syscall.ENOTCONN,
		Operation: probes.OpStatfs, FSType: "fuse", Started: start, Finished: start.Add(1500 * time.Millisecond),
	}
	unknown := probes.Observation{Target: probes.Target{Path: "/c"}, Detail: "no\x1b[31m", Started: start, Finished: start}
	for format, want := range map[string]string{
		"text": `"/a\nb" Broken Disconnected (ENOTCONN from fstatfs)` + "\n" + `"/c" Unknown: "no\x1b[31m"` + "\n",
		"json": `{"path":"/a\nb","health":"Broken","cause":"Disconnected","errno":"ENOTCONN","operation":"fstatfs","fsType":"fuse","seconds":1.5}` + "\n" +
			`{"path":"/c","health":"Unknown","detail":"no\u001b[31m","seconds":0}` + "\n",
	} {
		var out strings.Builder
		if err := write(&out, format, []probes.Observation{broken, unknown}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// A result that nobody can read is no verdict on the mount.
func TestOutputThatFails(t *testing.T) {
	cmd := root()
	cmd.SetArgs([]string{"check", "--worker-path", worker(t), "/"})
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	cmd.SetOut(w)
	var exit exitError
	if err := cmd.ExecuteContext(t.Context()); !errors.As(err, &exit) || exit.code != exitUnknown || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want exit code 3 for a closed pipe", err)
	}
}
