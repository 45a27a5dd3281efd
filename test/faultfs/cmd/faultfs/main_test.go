package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
)

const (
	mainEnv  = "FAULTFS_TEST_MAIN"
	patience = 30 * time.Second
)

// TestMain lets tests run main in processes of its own.
func TestMain(m *testing.M) {
	if os.Getenv(mainEnv) != "" {
		main()
	}
	if err := mountns.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// runCtl gives what "faultfs ctl" printed.
func runCtl(t *testing.T, control string, words ...string) string {
	t.Helper()
	out, err := command(append([]string{"ctl", "--control", control}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ctl %v: %v, %s", words, err, out)
	}
	return string(out)
}

func TestServeAndCtl(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	mountpoint, control := t.TempDir(), filepath.Join(t.TempDir(), "control")
	server := command("serve", "--mountpoint", mountpoint, "--control", control, "--content", "tweet")
	server.Stderr = os.Stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Errorf("first line %q (%v), want ready", line, err)
	}
	go func() { ended <- server.Wait() }()

	runCtl(t, control, "error", "EIO", "read")
	if status := runCtl(t, control, "status"); !strings.Contains(status, `"faults":{"read":"error EIO"}`) {
		t.Errorf("status %s", status)
	}
	if _, err := exec.Command("/bin/cat", filepath.Join(mountpoint, "canary")).Output(); err == nil {
		t.Error("the canary was read although reads fail")
	}
	runCtl(t, control, "clear")
	if out, err := exec.Command("/bin/cat", filepath.Join(mountpoint, "canary")).Output(); string(out) != "tweet" {
		t.Errorf("canary %q, %v", out, err)
	}
	runCtl(t, control, "stop")
	runCtl(t, control, "cont")
	if err := server.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("serve ended with %v", err)
		}
	case <-time.After(patience):
		_ = server.Process.Kill()
		t.Fatal("SIGTERM does not end serve")
	}
	if _, err := faultfs.ConnectionAt(mountpoint); !errors.Is(err, faultfs.ErrNotMounted) {
		t.Errorf("after serve: got %v, want ErrNotMounted", err)
	}
}

func TestMistakes(t *testing.T) {
	for text, named := range map[string]string{
		"":                               "Usage",
		"mount":                          `"mount"`,
		"ctl hang":                       "--control",
		"ctl --control=/x":               "hang [OP]",
		"ctl --control=/x explode":       `"explode"`,
		"ctl --control=/x kill now":      `"now"`,
		"ctl --control=/x hang chmod":    `"chmod"`,
		"ctl --socket=/x":                "socket",
		"serve":                          "mountpoint",
		"serve --mountpoint=/m extra":    `"extra"`,
		"serve --mountpoint=/ --control": "control",
	} {
		err := run(strings.Fields(text))
		if !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), named) {
			t.Errorf("%q: got %v, want an ErrUsage that names %s", text, err, named)
		}
	}
}

func TestCtlOfNoServer(t *testing.T) {
	socket := "--control=" + filepath.Join(t.TempDir(), "none")
	for _, fault := range []string{"hang", "clear", "stop", "cont", "abort", "status"} {
		if err := run([]string{"ctl", socket, fault}); !errors.Is(err, faultfs.ErrServerGone) {
			t.Errorf("%s: got %v, want ErrServerGone", fault, err)
		}
	}
	if err := run([]string{"ctl", socket, "kill"}); err != nil {
		t.Errorf("kill of a dead server: %v", err)
	}
}

func TestHelp(t *testing.T) {
	out, err := command("help").Output()
	if err != nil || !strings.Contains(string(out), faultfs.CtlUsage) {
		t.Errorf("got %q, %v", out, err)
	}
}
