package csidriver_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/mountwarden/mountwarden/test/csidriver"
	"github.com/mountwarden/mountwarden/test/csidriver/volume"
	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/faultfs/mountns"
	"github.com/mountwarden/mountwarden/test/internal/webdav"
)

const (
	// patience bounds waits that end at once on an idle machine.
	patience = 30 * time.Second
	catEnv   = "CSIDRIVER_TEST_CAT"
)

func TestMain(m *testing.M) {
	faultfs.MainIfChild()
	webdav.MainIfChild()
	catIfChild()
	if err := mountns.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// catIfChild prints a file, or why it cannot, in a process that may hang.
func catIfChild() {
	file := os.Getenv(catEnv)
	if file == "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		text = []byte(err.Error())
	}
	fmt.Print(string(text))
	os.Exit(0)
}

// cat reads a file of a volume by way of a child process.
func cat(t *testing.T, file string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), catEnv+"="+file, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	must(t, err)
	return string(out)
}

// A driver that runs, and its clients.
type driver struct {
	csi.NodeClient
	csi.IdentityClient
	config csidriver.Config
	root   string // of all paths that the test mounts on
	stop   func() // as by SIGTERM; waits
}

func startDriver(t *testing.T, change ...func(*csidriver.Config)) *driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	root := t.TempDir()
	t.Cleanup(func() { detachBelow(t, root) })
	c := csidriver.Config{
		Endpoint: "unix://" + filepath.Join(root, "csi.sock"),
		NodeID:   "node-1",
		StateDir: filepath.Join(root, "state"),
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&c)
	}
	return runDriver(t, c, root)
}

// runDriver runs the driver in this process, again on what an earlier one left.
func runDriver(t *testing.T, c csidriver.Config, root string) *driver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- csidriver.Run(ctx, c) }()
	d := &driver{config: c, root: root}
	stopped := false
	d.stop = func() {
		cancel()
		if !stopped {
			stopped = true
			must(t, <-ended)
		}
	}
	t.Cleanup(d.stop)
	conn, err := grpc.NewClient(c.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	d.NodeClient, d.IdentityClient = csi.NewNodeClient(conn), csi.NewIdentityClient(conn)
	return d
}

func withStaging(c *csidriver.Config) { c.Stage = true }

// target is a path like the kubelet's.
func (d *driver) target(pod, name string) string {
	return filepath.Join(d.root, "pods", pod, "volumes/kubernetes.io~csi", name, "mount")
}

func (d *driver) staging(id string) string { return filepath.Join(d.root, "staging", id) }

func mountCapability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

// publishRequest asks for an inline volume of the pod.
func (d *driver) publishRequest(pod, name string) *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId:         "id-" + pod + "-" + name,
		TargetPath:       d.target(pod, name),
		VolumeCapability: mountCapability(),
		VolumeContext: map[string]string{
			"content":                          "tweet of " + pod,
			"csi.storage.k8s.io/ephemeral":     "true",
			"csi.storage.k8s.io/pod.name":      pod,
			"csi.storage.k8s.io/pod.namespace": "default",
		},
	}
}

func (d *driver) publish(t *testing.T, r *csi.NodePublishVolumeRequest) {
	t.Helper()
	_, err := d.NodePublishVolume(deadline(t), r)
	must(t, err)
}

func (d *driver) unpublish(t *testing.T, r *csi.NodePublishVolumeRequest) {
	t.Helper()
	_, err := d.NodeUnpublishVolume(deadline(t), &csi.NodeUnpublishVolumeRequest{
		VolumeId: r.GetVolumeId(), TargetPath: r.GetTargetPath(),
	})
	must(t, err)
}

// server finds the FUSE server behind a pod's volume as the command "fault" does.
func (d *driver) server(t *testing.T, pod, name string) *faultfs.Client {
	t.Helper()
	server, err := volume.Find(d.config.StateDir, pod, name)
	must(t, err)
	return server
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience) // clean-ups use it too
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("got code %v (%v), want %v", got, err, want)
	}
}
