package csidriver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// A stuckCat is a child that reads a file and may hang. Only the end of the mount
// frees it surely, so tests wait for it after they unpublish.
type stuckCat struct {
	out  strings.Builder
	done chan struct{}
}

func startCat(t *testing.T, file string) *stuckCat {
	t.Helper()
	c := &stuckCat{done: make(chan struct{})}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), catEnv+"="+file, "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = &c.out, &c.out
	must(t, cmd.Start())
	go func() { defer close(c.done); _ = cmd.Wait() }()
	return c
}

func (c *stuckCat) wait(t *testing.T) string {
	t.Helper()
	select {
	case <-c.done:
		return c.out.String()
	case <-time.After(patience):
		t.Fatal("the reader still hangs")
		return ""
	}
}

// writeIn makes a directory in a mount that is known to be healthy, and gives the
// error's text.
func writeIn(t *testing.T, dir string) string {
	t.Helper()
	err := os.Mkdir(filepath.Join(dir, "new"), 0o755)
	if err == nil {
		return ""
	}
	return err.Error()
}

func detach(t *testing.T, path string) {
	t.Helper()
	must(t, unix.Unmount(path, unix.MNT_DETACH))
}

// detachBelow takes the mounts away that a stopped driver left.
func detachBelow(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if path := strings.Fields(line)[4]; strings.HasPrefix(path, dir+"/") {
			detach(t, path)
		}
	}
}

func (d *driver) probe(t *testing.T) {
	t.Helper()
	response, err := d.Probe(deadline(t), &csi.ProbeRequest{})
	must(t, err)
	if !response.GetReady().GetValue() {
		t.Error("the probe says that the driver is not ready")
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-end:
			t.Fatalf("never came true: %s", what)
		case <-tick.C:
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
