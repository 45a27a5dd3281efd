package csi

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	driver   = "driver.example.com"
	kubelet  = "/var/lib/kubelet"
	registry = kubelet + "/plugins_registry"
	endpoint = kubelet + "/plugins/driver/csi.sock"
)

// fakeHost is a /proc whose first process has a directory of the test as its root.
type fakeHost struct {
	t        *testing.T
	root     string
	hostRoot ask.Root
}

func newFakeHost(t *testing.T) *fakeHost {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi") //nolint:usetesting // sockets have short names
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	h := &fakeHost{t: t, root: filepath.Join(dir, "r"), hostRoot: ask.Root{Proc: filepath.Join(dir, "p"), PID: 1}}
	must(t, os.MkdirAll(filepath.Join(h.hostRoot.Proc, "1"), 0o755))
	must(t, os.WriteFile(filepath.Join(h.hostRoot.Proc, "1", "status"), []byte("Name:\tinit\nState:\tS\n"), 0o600))
	must(t, os.Symlink(h.root, filepath.Join(h.hostRoot.Proc, "1", "root")))
	h.makeDir(registry)
	return h
}

func (h *fakeHost) hostPath(path string) string { return filepath.Join(h.root, path) }

func (h *fakeHost) makeDir(path string) {
	h.t.Helper()
	must(h.t, os.MkdirAll(h.hostPath(path), 0o755))
}

func (h *fakeHost) writeFile(path, text string) {
	h.t.Helper()
	h.makeDir(filepath.Dir(path))
	must(h.t, os.WriteFile(h.hostPath(path), []byte(text), 0o600))
}

func (h *fakeHost) makeSymlink(path, to string) {
	h.t.Helper()
	h.makeDir(filepath.Dir(path))
	must(h.t, os.Symlink(to, h.hostPath(path)))
}

// listenUnserved makes a socket that nobody serves: connections are accepted by the kernel alone.
func (h *fakeHost) listenUnserved(path string) *net.UnixListener {
	h.t.Helper()
	h.makeDir(filepath.Dir(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.hostPath(path), Net: "unix"})
	must(h.t, err)
	h.t.Cleanup(func() { _ = l.Close() })
	return l
}

// leaveDeadSocket leaves a socket behind whose process is gone.
func (h *fakeHost) leaveDeadSocket(path string) {
	h.t.Helper()
	l := h.listenUnserved(path)
	l.SetUnlinkOnClose(false)
	must(h.t, l.Close())
}

// serveRaw serves a socket with something that is no gRPC.
func (h *fakeHost) serveRaw(path string, with func(net.Conn)) {
	h.t.Helper()
	l := h.listenUnserved(path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			with(conn)
			_ = conn.Close()
		}
	}()
	h.t.Cleanup(func() { must(h.t, l.Close()); <-done })
}

// serveGRPC serves gRPC.
func (h *fakeHost) serveGRPC(path string, register func(*grpc.Server)) {
	h.t.Helper()
	l, s, done := h.listenUnserved(path), grpc.NewServer(), make(chan struct{})
	register(s)
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	h.t.Cleanup(func() { s.Stop(); <-done })
}

// serveRegistrar serves a registration socket; no name is one that fails.
func (h *fakeHost) serveRegistrar(path, kind, name, endpoint string) {
	h.t.Helper()
	h.serveGRPC(path, func(s *grpc.Server) {
		registration.RegisterRegistrationServer(s, registrar{kind: kind, name: name, endpoint: endpoint})
	})
}

type registrar struct {
	registration.UnimplementedRegistrationServer
	kind, name, endpoint string
}

func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	if r.name == "" {
		return nil, status.Error(codes.Internal, "the registrar is out of order")
	}
	return &registration.PluginInfo{Type: r.kind, Name: r.name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

// serveDriver serves the driver's socket.
func (h *fakeHost) serveDriver(path string, ready *wrapperspb.BoolValue, code codes.Code) {
	h.t.Helper()
	h.serveGRPC(path, func(s *grpc.Server) { spec.RegisterIdentityServer(s, identity{ready: ready, code: code}) })
}

type identity struct {
	spec.UnimplementedIdentityServer
	ready *wrapperspb.BoolValue
	code  codes.Code
}

func (i identity) Probe(ctx context.Context, _ *spec.ProbeRequest) (*spec.ProbeResponse, error) {
	switch i.code {
	case codes.OK:
		return &spec.ProbeResponse{Ready: i.ready}, nil
	case codes.DeadlineExceeded: // it hangs
		<-ctx.Done()
	}
	return nil, status.Error(i.code, "because\nof this")
}

// checkDriver asks for the driver, which is known to be in the usual place.
func (h *fakeHost) checkDriver() probes.MountReadiness {
	return CheckDriver(context.Background(), ask.CSI{Root: h.hostRoot, Kubelets: []string{kubelet}, Certain: true, Driver: driver})
}

func expectReadiness(t *testing.T, f probes.MountReadiness, readiness probes.Readiness, detail string) {
	t.Helper()
	if f.Readiness != readiness || !strings.Contains(f.Detail, detail) || f.Detail == "" {
		t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, readiness, detail)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newError makes an error of a text, nil of none.
func newError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
