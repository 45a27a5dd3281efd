package lab_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/test/csidriver"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// TestHostsMounts looks at the host's mounts, which are this process's, in every state of a FUSE.
func TestHostsMounts(t *testing.T) {
	p := newProber(t, node.Options{HostPID: os.Getpid()})
	s := newVolume(t, faultfs.Options{})
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(s.Mountpoint(), link))
	folder := t.TempDir()
	look := func(path string) probes.Observation { return p.ProbeHost(t.Context(), path, hangTimeout) }
	for _, path := range []string{s.Mountpoint(), link, folder, "/"} {
		if o := look(path); o.Health != probes.Healthy {
			t.Errorf("%s: %+v", path, o)
		}
	}
	must(t, s.Stop())
	for _, path := range []string{s.Mountpoint(), link} {
		expect(t, look(path), probes.Broken, probes.CauseHung)
	}
	must(t, s.Continue())
	eventually(t, "mount answers again", func() bool { return look(s.Mountpoint()).Health == probes.Healthy })
	must(t, s.Kill())
	for _, path := range []string{s.Mountpoint(), link} {
		expect(t, look(path), probes.Broken, probes.CauseDisconnected)
	}
	expect(t, look(folder), probes.Healthy, probes.CauseNone)
	expect(t, look(filepath.Join(folder, "none")), probes.Unknown, probes.CauseNone)

	c := newChecker(t, p, os.Getpid())
	fresh := func(path string) probes.MountReadiness {
		return c.CheckReadiness(t.Context(), probes.Volume{Backend: probes.Backend{Kind: probes.BackendHost, Name: path}, Host: probes.HostVolume{Path: path}})
	}
	expectFresh(t, fresh(s.Mountpoint()), probes.NotReady, "broken too: Disconnected")
	expectFresh(t, fresh(folder), probes.Ready, "healthy")
	expectFresh(t, fresh(filepath.Join(folder, "none")), probes.Unclear, "no such file")
}

func newChecker(t *testing.T, p *node.Prober, hostPID int) *backend.Checker {
	t.Helper()
	program := filepath.Join(filepath.Dir(ownWorker(t)), "mountwarden-backend")
	c, err := backend.New(backend.Options{Host: p, ProgramPath: program, HostPID: hostPID})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close(context.Background())) })
	return c
}

func expectFresh(t *testing.T, f probes.MountReadiness, readiness probes.Readiness, detail string) {
	t.Helper()
	if f.Readiness != readiness || !strings.Contains(f.Detail, detail) {
		t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, readiness, detail)
	}
}

// hostOf is a host with a root folder of its own, and below it the folder of a kubelet whose one pod has a claim of the test's CSI driver.
type hostOf struct {
	t       *testing.T
	kubelet string // here and there
	volume  *faultfs.Server
	host    *container
	claim   probes.Volume
	checker *backend.Checker
}

func newHostOf(t *testing.T) *hostOf {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "lab") //nolint:usetesting // sockets have short names
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	h := &hostOf{t: t, kubelet: filepath.Join(dir, "k")}
	folder := filepath.Join(h.kubelet, "pods/uid/volumes/kubernetes.io~csi/pvc-1")
	must(t, os.MkdirAll(filepath.Join(folder, "mount"), 0o755))
	must(t, os.MkdirAll(filepath.Join(h.kubelet, "plugins_registry"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "vol_data.json"), []byte(`{"driverName":"`+csidriver.Name+`"}`), 0o600))
	must(t, os.Chown(filepath.Join(h.kubelet, "plugins_registry"), owner, owner)) // for uid 0 this takes CAP_DAC_READ_SEARCH
	h.volume = newVolume(t, faultfs.Options{Mountpoint: filepath.Join(folder, "mount")})
	h.host = newContainer(t, spec{Mounts: []bind{{Source: h.kubelet, Path: h.kubelet, Propagation: syscall.MS_PRIVATE}}})
	pid := h.host.cmd.Process.Pid
	p := newProber(t, node.Options{HostPID: pid})
	h.checker = newChecker(t, p, pid)
	device := p.ProbeHost(t.Context(), filepath.Join(folder, "mount"), timeout).Device
	h.claim = probes.Volume{PodUID: "uid", Device: device, Host: probes.HostVolume{Claim: true}}
	if c := p.Consumers(device); len(c.PodUIDs) != 1 || c.PodUIDs[0] != "uid" || c.Staged != "" {
		t.Errorf("%q: %+v", device, c)
	}
	return h
}

// drive runs the driver until stop is called.
func (h *hostOf) drive() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- csidriver.Run(ctx, csidriver.Config{
			Endpoint: "unix://" + h.socket(), NodeID: "n", RegistryDir: filepath.Join(h.kubelet, "plugins_registry"),
			StateDir: filepath.Join(h.kubelet, "state"), Log: slog.New(slog.DiscardHandler), ServerLog: io.Discard,
		})
	}()
	registration := filepath.Join(h.kubelet, "plugins_registry", csidriver.Name+"-reg.sock")
	eventually(h.t, "driver serves", func() bool { _, err := os.Stat(registration); return err == nil })
	return func() {
		cancel()
		must(h.t, <-ended)
	}
}

func (h *hostOf) socket() string { return filepath.Join(h.kubelet, "plugins/csi.sock") }

// settles waits until the answer is the one: answers are kept for a second.
func (h *hostOf) settles(readiness probes.Readiness, detail string) {
	h.t.Helper()
	var f probes.MountReadiness
	defer func() { h.t.Logf("%s %q", f.Readiness, f.Detail) }()
	eventually(h.t, readiness.String()+" "+detail, func() bool {
		f = h.checker.CheckReadiness(h.t.Context(), h.claim)
		return f.Readiness == readiness && strings.Contains(f.Detail, detail)
	})
}

// TestBackendOfAClaim asks with the real program, through a host's root folder, whatever state the volume is in.
func TestBackendOfAClaim(t *testing.T) {
	h := newHostOf(t)
	h.settles(probes.NotReady, "not registered")
	stop := h.drive()
	h.settles(probes.Ready, csidriver.Name)
	must(t, h.volume.Stop()) // the volume itself is never entered
	h.settles(probes.Ready, csidriver.Name)
	must(t, h.volume.Continue())
	must(t, h.volume.Kill())
	h.settles(probes.Ready, csidriver.Name)

	must(t, os.Chown(h.socket(), owner, owner))
	must(t, os.Chmod(h.socket(), 0o755)) // to connect takes the right to write, which root without CAP_DAC_OVERRIDE has not
	h.settles(probes.Unclear, "permission denied")
	must(t, os.Chown(h.socket(), 0, 0))
	h.settles(probes.Ready, csidriver.Name)
	stop()
	h.settles(probes.NotReady, "not registered")
	h.host.kill()
	h.settles(probes.Unclear, "")
}

// TestBackendProgramIsHarmless looks at the program while it waits for a driver that hangs: with no privilege that it does not need, and
// gone when the agent goes.
func TestBackendProgramIsHarmless(t *testing.T) {
	h := newHostOf(t)
	l, err := net.Listen("unix", filepath.Join(h.kubelet, "plugins_registry/r.sock")) // accepts, and says nothing
	must(t, err)
	defer l.Close()
	h.settles(probes.NotReady, "does not answer")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	other := h.claim
	other.Backend = probes.Backend{Kind: probes.BackendCSI, Name: "other.example.com"}
	ended := make(chan struct{})
	go func() { // again and again: on a busy machine the program may be gone before it is seen
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			h.checker.CheckReadiness(ctx, other)
			<-tick.C
		}
	}()
	const kept = "0000000000080004" // CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
	eventually(t, "program has dropped its privileges", func() bool {
		for _, pid := range childrenNamed(t, "mountwarden-bac") {
			status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
			if err == nil && strings.Contains(string(status), "CapEff:\t"+kept) && strings.Contains(string(status), "NoNewPrivs:\t1") &&
				strings.Contains(string(status), "CapBnd:\t"+kept) {
				return true
			}
		}
		return false
	})
	must(t, h.checker.Close(context.Background()))
	expectFresh(t, h.checker.CheckReadiness(ctx, other), probes.Unclear, "ending")
	cancel()
	<-ended
	if left := childrenNamed(t, "mountwarden-bac"); len(left) != 0 {
		t.Errorf("programs left: %v", left)
	}
}
