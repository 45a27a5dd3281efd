package lab_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
)

const (
	// timeout is that of looks which are expected to get an answer.
	timeout = 10 * time.Second
	// patience bounds waits that end at once on an idle machine.
	patience = 30 * time.Second
)

// slowEnv says that the machine is an emulated one.
const slowEnv = "MOUNTWARDEN_LAB_SLOW"

// hangTimeout is that of looks which are not expected to get an answer.
var hangTimeout = func() time.Duration {
	if os.Getenv(slowEnv) != "" {
		return 2 * time.Second
	}
	return time.Second
}()

// manyTimeout is that of looks at as many as need a worker each, which has to be started first.
var manyTimeout = func() time.Duration {
	if os.Getenv(slowEnv) != "" {
		return 6 * hangTimeout
	}
	return 2 * hangTimeout
}()

// parallel is how many scenarios run at once: they wait for the kernel and for processes more than they compute.
const parallel = "8"

// workerEnv tells the tests where the worker is. TestMain builds it, unless somebody has done so before.
const workerEnv = "MOUNTWARDEN_LAB_WORKER"

func TestMain(m *testing.M) {
	faultfs.MainIfChild()
	containIfChild()
	lookIfChild()
	if err := mountns.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := buildWorker()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := flag.Set("test.parallel", parallel); err != nil { // the command line is parsed later, and comes first
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // of "" it removes nothing
		os.Exit(code)
	}))
}

// buildWorker builds the worker, and the program that asks backends beside it, as they are shipped: static, stripped, without the race
// detector. Where the looker is elsewhere, they are too.
func buildWorker() (dir string, err error) {
	if os.Getenv(lookerCommandEnv) != "" || os.Getenv(workerEnv) != "" {
		return "", nil
	}
	dir, err = os.MkdirTemp("", "mountwarden-lab-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // some workers run as another user
		return dir, err
	}
	const programs = "github.com/mountwarden/mountwarden/cmd/"
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir+"/", programs+"mountwarden-probe", programs+"mountwarden-backend")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build worker: %w\n%s", err, out)
	}
	return dir, os.Setenv(workerEnv, filepath.Join(dir, "mountwarden-probe"))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts file systems: needs root")
	}
}

// ownWorker is where the worker is, for tests that have a prober or a pool in this process.
func ownWorker(t *testing.T) string {
	t.Helper()
	needRoot(t)
	if os.Getenv(lookerCommandEnv) != "" {
		t.Skip("needs the prober in the test's own process: asks for more than looks, or looks into it")
	}
	return os.Getenv(workerEnv)
}

// newProber makes one in this process, for tests that ask it for more than looks or look into its process.
func newProber(t *testing.T, opts node.Options) *node.Prober {
	t.Helper()
	opts.WorkerPath = ownWorker(t)
	p, err := node.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newVolume mounts a faultfs; what the options leave open is chosen.
func newVolume(t *testing.T, opts faultfs.Options) *faultfs.Server {
	t.Helper()
	needRoot(t)
	if opts.Mountpoint == "" {
		opts.Mountpoint = t.TempDir()
	}
	s, err := faultfs.Start(context.Background(), faultfs.StartOptions{Options: opts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// podOf is a pod of one container with a mount at each of the paths.
func podOf(c *container, paths ...string) probes.Pod {
	var mounts []probes.Mount
	for i, path := range paths {
		mounts = append(mounts, probes.Mount{Volume: fmt.Sprintf("volume-%d", i), Path: path})
	}
	return probes.Pod{
		UID: "uid", Namespace: "lab", Name: "pod",
		Containers: []probes.Container{{Name: "app", ID: c.id, Mounts: mounts}},
	}
}

// selfAt are paths of this process to look at.
func selfAt(paths ...string) (mounts []probes.Mount) {
	for _, path := range paths {
		mounts = append(mounts, probes.Mount{Path: path})
	}
	return mounts
}

// lookAt probes the one mount of a pod and requires one observation.
func lookAt(t *testing.T, p prober, pod probes.Pod, timeout time.Duration) probes.Observation {
	t.Helper()
	return lookAll(t, p, pod, timeout)[0]
}

// lookAll probes a pod, again if its container is so new that the last scan of /proc has not seen it.
func lookAll(t *testing.T, p prober, pod probes.Pod, timeout time.Duration) (seen []probes.Observation) {
	t.Helper()
	eventually(t, "container found", func() bool {
		seen = p.Probe(context.Background(), pod, timeout)
		if want := len(pod.Containers[0].Mounts); len(seen) != want {
			t.Fatalf("%d observations of %d mounts: %+v", len(seen), want, seen)
		}
		return !strings.Contains(seen[0].Detail, proc.ErrNotFound.Error())
	})
	return seen
}

func expect(t *testing.T, o probes.Observation, health probes.Health, cause probes.Cause) {
	t.Helper()
	if o.Health != health || o.Cause != cause {
		t.Errorf("got %s/%s, want %s/%s: %+v", o.Health, o.Cause, health, cause, o)
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
