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

// workerDir is where this run of the tests has its worker.
func workerDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprint("mountwarden-test-", os.Getpid()))
}

// build makes the program that touches mounts and the one that asks backends, once.
var build = sync.OnceValues(func() (string, error) {
	text, err := exec.Command("go", "build", "-o", workerDir()+"/", "../mountwarden-probe", "../mountwarden-backend").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the worker: %w\n%s", err, text)
	}
	return filepath.Join(workerDir(), "mountwarden-probe"), err
})

func workerPath(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckHealthy(t *testing.T) {
	w := workerPath(t)
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
	stdout, stderr, code := run(t, "check", "--worker-path", workerPath(t), "--output", "json", path)
	var got checkResult
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %q %q", err, stdout, stderr)
	}
	if code != exitHealthy || got.Path != path || got.Health != "Healthy" || got.FSType != "tmpfs" || got.Seconds <= 0 {
		t.Errorf("exit code %d, %+v", code, got)
	}
}

func TestCheckWhatIsNotThere(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	stdout, _, code := run(t, "check", "--worker-path", workerPath(t), "/", absent)
	if code != exitUnknown || !strings.Contains(stdout, `"`+absent+`" Unknown`) {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// With --wait an init container holds back its app until the mount is there.
func TestCheckWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later")
	w := workerPath(t)
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
	_, _, code := run(t, "check", "--worker-path", workerPath(t), "--wait", "1500ms", filepath.Join(t.TempDir(), "never"))
	if took := time.Since(began); code != exitUnknown || took < 1500*time.Millisecond {
		t.Errorf("exit code %d after %s", code, took)
	}
}

func TestCheckStopsWhenItIsToldTo(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	cmd := newRootCommand()
	cmd.SetOut(io.Discard)
	cmd.SetArgs([]string{"check", "--worker-path", workerPath(t), "--wait", "1h", filepath.Join(t.TempDir(), "never")})
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
		if got := chooseExitCode(tc.seen); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.seen, got, tc.want)
		}
	}
}

func TestCheckCanary(t *testing.T) {
	folder := t.TempDir()
	canary := filepath.Join(folder, "state", "canary")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Dir(canary), 0o755))
	must(os.WriteFile(canary, []byte("alive"), 0o600))
	must(os.Symlink("/etc/hostname", filepath.Join(folder, "outside")))
	for _, tc := range []struct {
		flag, path string
		code       int
	}{
		{"--canary-file", "state/canary", exitHealthy},
		{"--canary-directory", "state", exitHealthy},
		{"--canary-file", "absent", exitUnhealthy},
		{"--canary-file", "state", exitUnhealthy},
		{"--canary-directory", "state/canary", exitUnhealthy},
		{"--canary-file", "outside", exitUnknown},
		{"--canary-file", "../x", 2},
		{"--canary-directory", "/etc", 2},
	} {
		stdout, stderr, code := run(t, "check", "--worker-path", workerPath(t), tc.flag, tc.path, folder)
		if code != tc.code {
			t.Errorf("%s %s: exit code %d, want %d: %s%s", tc.flag, tc.path, code, tc.code, stdout, stderr)
		}
	}
}

// In an init container check has the rights of any container's root, none of the agent's, and must
// use them all: its worker probes with the same.
func TestCheckWithTheRightsOfAContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give privileges away")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv of util-linux")
	}
	folder := t.TempDir()
	canary := filepath.Join(folder, "canary")
	if err := errors.Join(os.WriteFile(canary, []byte("alive"), 0o600), os.Chown(canary, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	for caps, want := range map[string]int{"-all,+chown,+dac_override,+kill": exitHealthy, "-all": exitUnknown} { // without, the canary is nobody's business
		p := command(t, nil, "check", "--worker-path", workerPath(t), "--canary-file", "canary", folder)
		p.Args = append([]string{"setpriv", "--bounding-set=" + caps, "--inh-caps=-all", p.Path}, p.Args[1:]...)
		p.Path = setpriv
		if code := p.code(t, p.Run()); code != want {
			t.Errorf("with capabilities %s: exit code %d, want %d: %s%s", caps, code, want, p.stdout.String(), p.stderr.String())
		}
	}
}

// Watching tells each change once, and ends with the exit code of what was seen last.
func TestCheckWatches(t *testing.T) {
	folder := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	cmd := newRootCommand()
	cmd.SetOut(w)
	cmd.SetArgs([]string{"check", "--worker-path", workerPath(t), "--watch", "--period", "10ms", "--output", "json", "--canary-file", "canary", folder})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	changes := json.NewDecoder(r)
	next := func(health, cause string) {
		t.Helper()
		var l checkResult
		if err := changes.Decode(&l); err != nil || l.Health != health || string(l.Cause) != cause {
			t.Errorf("%v: %+v, want %s %s", err, l, health, cause)
		}
	}
	next("Broken", "CanaryFailed")
	if err := os.WriteFile(filepath.Join(folder, "canary"), []byte("alive"), 0o600); err != nil {
		t.Fatal(err)
	}
	next("Healthy", "")
	if err := os.Remove(filepath.Join(folder, "canary")); err != nil {
		t.Fatal(err)
	}
	next("Broken", "CanaryFailed")
	stop()
	var exit exitError
	if err := <-ended; !errors.As(err, &exit) || exit.code != exitUnhealthy {
		t.Errorf("ended with %v, want exit code 1", err)
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
		"text-timed": `2026-01-02T03:04:06Z "/a\nb" Broken Disconnected (ENOTCONN from fstatfs)` + "\n" +
			`2026-01-02T03:04:05Z "/c" Unknown: "no\x1b[31m"` + "\n",
		"json": `{"time":"2026-01-02T03:04:06.5Z","path":"/a\nb","health":"Broken","cause":"Disconnected","errno":"ENOTCONN","operation":"fstatfs","fsType":"fuse","seconds":1.5}` + "\n" +
			`{"time":"2026-01-02T03:04:05Z","path":"/c","health":"Unknown","detail":"no\u001b[31m","seconds":0}` + "\n",
	} {
		var out strings.Builder
		if err := writeResults(&out, format, []probes.Observation{broken, unknown}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

// A result that nobody can read is no verdict on the mount.
func TestOutputThatFails(t *testing.T) {
	cmd := newRootCommand()
	cmd.SetArgs([]string{"check", "--worker-path", workerPath(t), "/"})
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
