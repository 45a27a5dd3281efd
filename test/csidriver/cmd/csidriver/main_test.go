package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
	"github.com/mountwarden/mountwarden/test/internal/packages"
)

const (
	mainEnv  = "CSIDRIVER_TEST_MAIN"
	patience = 30 * time.Second
)

// TestMain lets tests, and the driver that they start, run main in processes of
// its own.
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

// started is "csidriver serve" as a process.
type started struct {
	csi.NodeClient
	endpoint, state string
	process         *os.Process
	ended           chan error
}

func start(t *testing.T) *started {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	dir := t.TempDir()
	s := &started{endpoint: "unix://" + dir + "/csi.sock", state: dir + "/state", ended: make(chan error, 1)}
	cmd := command("serve", "--node-id=n", "--endpoint="+s.endpoint, "--state-dir="+s.state, "--registry-dir=")
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	s.process = cmd.Process
	go func() { s.ended <- cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() { _ = s.process.Kill(); <-s.ended })
	conn, err := grpc.NewClient(s.endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	s.NodeClient = csi.NewNodeClient(conn)
	return s
}

func (s *started) publish(t *testing.T, attributes map[string]string) (target string) {
	t.Helper()
	attributes["csi.storage.k8s.io/pod.name"] = "pod"
	target = filepath.Join(t.TempDir(), "volumes", "data", "mount")
	t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := s.NodePublishVolume(ctx, &csi.NodePublishVolumeRequest{
		VolumeId: "id", TargetPath: target,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: attributes,
	})
	must(t, err)
	return target
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// catOf gives what a child process reads, or why it cannot.
func catOf(t *testing.T, target string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/bin/cat", filepath.Join(target, "canary")).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

func TestServeProbeFault(t *testing.T) {
	s := start(t)
	target := s.publish(t, map[string]string{"content": "tweet"})
	if got := catOf(t, target); got != "tweet" {
		t.Errorf("canary %q, want tweet", got)
	}
	must(t, run(t.Context(), []string{"probe", "--endpoint=" + s.endpoint}, nil))

	fault := []string{"fault", "--state-dir=" + s.state, "--pod=pod", "--volume=data"}
	var status strings.Builder
	must(t, run(t.Context(), append(fault, "status"), &status))
	if !strings.Contains(status.String(), target) {
		t.Errorf("status %s does not name %s", status.String(), target)
	}
	must(t, run(t.Context(), append(fault, "kill"), nil))
	if got := catOf(t, target); !strings.Contains(got, "not connected") {
		t.Errorf("after kill: %q, want not connected", got)
	}
}

// However the driver ends, its FUSE servers end with it and leave dead mounts.
func TestServersEndWithTheDriver(t *testing.T) {
	for name, c := range map[string]struct {
		signal  unix.Signal
		program string
	}{
		"faultfs, SIGTERM": {unix.SIGTERM, ""},
		"faultfs, SIGKILL": {unix.SIGKILL, ""},
		"rclone, SIGTERM":  {unix.SIGTERM, "rclone"},
		"rclone, SIGKILL":  {unix.SIGKILL, "rclone"},
	} {
		t.Run(name, func(t *testing.T) {
			s, sig := start(t), c.signal
			attributes := map[string]string{}
			if c.program != "" {
				must(t, packages.Install(t.Context(), t.Output(), volume.Packages()...))
				attributes["program"], attributes["url"] = c.program, "http://127.0.0.1:1" // nobody listens, which does not matter
			}
			target := s.publish(t, attributes)
			server, err := volume.Find(s.state, "pod", "data")
			must(t, err)
			must(t, s.process.Signal(sig))
			select {
			case err := <-s.ended:
				if (err == nil) != (sig == unix.SIGTERM) {
					t.Errorf("the driver ended with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the driver does not end")
			}
			awaitGone(t, server)
			if got := catOf(t, target); !strings.Contains(got, "not connected") {
				t.Errorf("after the driver: %q, want not connected", got)
			}
		})
	}
}

func awaitGone(t *testing.T, server *faultfs.Client) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for server.Alive() {
		select {
		case <-end:
			t.Fatal("the FUSE server outlives the driver")
		case <-tick.C:
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, named := range map[string]string{
		"":                           "Usage",
		"mount":                      `"mount"`,
		"serve extra":                `"extra"`,
		"serve --colour=red":         "colour",
		"probe --colour=red":         "colour",
		"fault --colour=red":         "colour",
		"fuse --mountpoint=relative": `"relative"`,
	} {
		err := run(t.Context(), strings.Fields(text), nil)
		if !errors.Is(err, faultfs.ErrUsage) || !strings.Contains(err.Error(), named) {
			t.Errorf("%q: got %v, want an ErrUsage that names %s", text, err, named)
		}
	}
	if err := run(t.Context(), []string{"fault", "--state-dir=" + t.TempDir(), "kill"}, nil); !errors.Is(err, volume.ErrNoMatch) {
		t.Errorf("fault of nothing: got %v, want ErrNoMatch", err)
	}
	if err := run(t.Context(), []string{"serve"}, nil); err == nil || !strings.Contains(err.Error(), "node-id") {
		t.Errorf("serve without a node: got %v, want an error that names node-id", err)
	}
	if err := run(t.Context(), []string{"probe", "--endpoint=unix://" + t.TempDir() + "/none"}, nil); err == nil {
		t.Error("the probe of no driver works")
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	must(t, run(t.Context(), []string{"help"}, &out))
	if !strings.Contains(out.String(), faultfs.CtlUsage) {
		t.Errorf("help %q", out.String())
	}
}
