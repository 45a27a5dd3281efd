package lab_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend"
	"github.com/mountwarden/mountwarden/test/knfsd"
)

// nfsKind is a way to mount NFS. Soft ones give a call up after three seconds; defaults would take minutes.
type nfsKind struct{ version, name string }

const quick = ",timeo=10,retrans=1"

func (k nfsKind) String() string { return "NFS " + k.version + " " + k.name }

func (k nfsKind) options() string {
	if k.name == "hard" {
		return k.name
	}
	return k.name + quick
}

// nfsMount is a volume on the server, as one pod has it.
type nfsMount struct {
	*knfsd.Volume
	gate *knfsd.Gate
	at   string // on the host
	kind nfsKind
}

// nfsServer is the one that this process has started; see startNFS.
type nfsServer struct {
	*knfsd.Server
	t       *testing.T
	checker *backend.Checker // asks whether a fresh mount would succeed
}

// lastAddress counts the gates: each mount has one of its own, at an address of its own.
var lastAddress atomic.Int32

// gate opens one, which outlives its mount: the kernel's client says goodbye to the server when the mount is gone.
func (n *nfsServer) gate() *knfsd.Gate {
	g, err := knfsd.NewGate(fmt.Sprintf("192.0.2.%d", lastAddress.Add(1)+1))
	must(n.t, err)
	n.t.Cleanup(g.Close)
	return g
}

// startNFS skips the test where the kernel has no NFS.
func startNFS(t *testing.T) *nfsServer {
	t.Helper()
	needRoot(t)
	if !knfsd.Supported() {
		t.Skip("needs a kernel with the client and the server of NFS: make test-kernels")
	}
	server, err := knfsd.Start(t.TempDir())
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	p := newProber(t, nodeOptions())
	return &nfsServer{server, t, newChecker(t, p, os.Getpid())}
}

// nfs mounts a new volume at the kubelet's path for it.
func (s *scene) nfs(server *nfsServer, kind nfsKind) (*nfsMount, volume) {
	s.t.Helper()
	const folder = "kubernetes.io~nfs/data"
	v := volume{source: s.kubelet(folder), propagation: syscall.MS_PRIVATE,
		mount: probes.Mount{Volume: "data", Path: "/data", Host: probes.HostVolume{Folder: folder}}}
	return s.mountNFS(server, kind, v.source, ""), v
}

// mountNFS mounts a new volume. At the end the server is well again first, so that all who wait come back.
func (s *scene) mountNFS(server *nfsServer, kind nfsKind, at, options string) *nfsMount {
	s.t.Helper()
	vol, err := server.Volume()
	s.must(err)
	m := &nfsMount{vol, server.gate(), at, kind}
	var refused error
	eventually(s.t, "mounted", func() bool { // a soft mount may be refused for a former one that is not over yet
		refused = m.Mount(m.gate, at, kind.version, kind.options()+options)
		return refused == nil || !errors.Is(refused, syscall.ETIMEDOUT) && !errors.Is(refused, syscall.EIO)
	})
	s.must(refused)
	s.t.Cleanup(func() {
		s.must(m.gate.Set(knfsd.Open))
		if s.container != nil {
			s.container.kill()
		}
		eventually(s.t, at+" unmounted", func() bool {
			err := syscall.Unmount(at, 0)
			return err == nil || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT)
		})
		eventually(s.t, "the server is forgotten", func() bool { return !m.isKnown(s.t) })
	})
	return m
}

// isKnown reports whether the kernel's client still knows of the server at the gate's address (/proc/fs/nfsfs). A mount of NFS 4 that
// comes meanwhile would join it, with all that is wrong there.
func (m *nfsMount) isKnown(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/fs/nfsfs/servers")
	must(t, err)
	address, err := netip.ParseAddr(m.gate.Address())
	must(t, err)
	return strings.Contains(string(text), hex.EncodeToString(address.AsSlice())+" ")
}

// fault is what happens to a server or to a volume on it.
type nfsFault struct {
	name, does string
	happens    func(*scene, *nfsServer, *nfsMount) error
	fresh      probes.Readiness // would a fresh mount succeed, as far as the agent can tell?
	alone      bool             // it happens to others as well
	want       string           // what becomes of the pod, where the server answers
	mends      func(*nfsServer, *nfsMount) error
}

func gateTo(state knfsd.State) func(*scene, *nfsServer, *nfsMount) error {
	return func(_ *scene, _ *nfsServer, m *nfsMount) error { return m.gate.Set(state) }
}

func opens(_ *nfsServer, m *nfsMount) error { return m.gate.Set(knfsd.Open) }

// unreachable are the ways in which a server can be away.
func unreachable() []nfsFault {
	return []nfsFault{
		{"server stalled", "connections are taken, calls are never answered", gateTo(knfsd.Stall), probes.NotReady, false, "", opens},
		{"server vanished", "packets are dropped", gateTo(knfsd.Vanish), probes.NotReady, false, "", opens},
		{"server gone", "connections are reset and refused", gateTo(knfsd.Refuse), probes.NotReady, false, "", opens},
	}
}

// changed are the ways in which a server that answers serves something else.
func changed() []nfsFault {
	return []nfsFault{
		{"export made anew", "the exported folder removed and made again",
			func(_ *scene, _ *nfsServer, m *nfsMount) error { return m.Remake() }, probes.Ready, false, failed(probes.CauseStale), nil},
		{"unexported", "the server exports the volume no longer",
			func(_ *scene, _ *nfsServer, m *nfsMount) error { return m.Unexport() }, probes.Ready, false, failed(probes.CauseStale),
			func(_ *nfsServer, m *nfsMount) error { return m.Export() }},
		{"mountd dead", "the server's mountd has ended; nfsd answers",
			func(_ *scene, server *nfsServer, _ *nfsMount) error { server.StopMountd(); return nil }, probes.Ready, true, stays,
			func(server *nfsServer, _ *nfsMount) error { return server.StartMountd() }},
		{"export read-only", "the server takes no writes any more, and the client does not know", func(_ *scene, _ *nfsServer, m *nfsMount) error {
			return m.ReadOnly()
		}, probes.Ready, false, stays, nil},
		{"slow server", "each call takes 300 ms longer",
			func(_ *scene, _ *nfsServer, m *nfsMount) error { m.gate.Slow(300 * time.Millisecond); return nil }, probes.Ready, false, stays, nil},
		{"server stalled and back", "calls are not answered for three looks, then all is well", stalledFor(3), probes.Ready, false, stays, nil},
	}
}

// stalledFor lets the server stall for as many looks.
func stalledFor(looks int) func(*scene, *nfsServer, *nfsMount) error {
	return func(s *scene, _ *nfsServer, m *nfsMount) error {
		if err := m.gate.Set(knfsd.Stall); err != nil {
			return err
		}
		s.timeout = hangTimeout
		for range looks {
			s.look()
			if o := s.worst(); o.Cause != probes.CauseHung {
				s.t.Errorf("it should hang: %+v", o)
			}
			s.clock.skip(s.verdict.Next)
		}
		s.timeout = timeout
		return m.gate.Set(knfsd.Open)
	}
}

// nfsKinds are the ways to mount each version.
func nfsKinds(version string) []nfsKind {
	return []nfsKind{{version, "hard"}, {version, "soft"}, {version, "softerr"}}
}

// nfsScenarios are those of both versions. What each must come to is measured: kernels from 5.10 to 7.3 agree.
func nfsScenarios(server *nfsServer) (all []scenario) {
	for _, version := range versions {
		for _, kind := range nfsKinds(version) {
			for _, f := range unreachable() {
				all = append(all, f.scenario(server, kind))
			}
		}
		for _, f := range changed() {
			all = append(all, f.scenario(server, nfsKind{version, "hard"}))
		}
	}
	return all
}

// scenario is one that needs a server.
func (f nfsFault) scenario(server *nfsServer, kind nfsKind) scenario {
	want := f.want
	if f.fresh == probes.NotReady {
		want = failed(kind.away(f.name))
	}
	return scenario{
		name: kind.String() + ": " + f.name, does: f.does, want: want, needs: "NFS", alone: f.alone, turns: kind.version != "3",
		run: func(s *scene) { f.run(s, server, kind) },
	}
}

// away is the cause by which a server is found to be away. Soft mounts of NFS 4 give a call up much later than asked to, or never.
func (k nfsKind) away(fault string) probes.Cause {
	if k.name == "hard" || k.version != "3" && fault != "server gone" {
		return probes.CauseHung
	}
	return probes.CauseIOError
}

// run lets the fault happen to a healthy pod, and proves afterwards what a fresh mount would find, and that a recovery is noticed.
func (f nfsFault) run(s *scene, server *nfsServer, kind nfsKind) {
	m, v := s.nfs(server, kind)
	s.start(v)
	s.good(1)
	if f.fresh == probes.NotReady && kind.away(f.name) == probes.CauseHung {
		s.timeout = hangTimeout
	}
	s.must(f.happens(s, server, m))
	s.after = func() {
		s.timeout = timeout
		expectFresh(s.t, server.checker.CheckReadiness(s.t.Context(), s.failedVolume()), f.fresh, "")
		if f.mends == nil {
			return
		}
		s.must(f.mends(server, m))
		eventually(s.t, "healthy again", func() bool { s.look(); return s.seen[0].Health == probes.Healthy })
	}
}

// failedVolume is what the agent asks the backend for.
func (s *scene) failedVolume() probes.Volume {
	o := s.worst()
	return probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS}, PodUID: s.pod.UID, Cause: o.Cause, Host: s.volumes[0].mount.Host,
		FSType: o.FSType, Source: o.Source, Device: o.Device}
}

// TestNFSFailures is TestFailures on NFS. Mounts of NFS 4 share what a client knows of a server, whatever its address, so that they
// take turns.
func TestNFSFailures(t *testing.T) {
	server := startNFS(t)
	p := newLooker(t, nodeOptions())
	all := nfsScenarios(server)
	rows := make([]row, len(all))
	play := func(t *testing.T, i int) {
		rows[i] = row{result: "no result"}
		all[i].play(newScene(t, p), &rows[i])
	}
	some := func(t *testing.T, parallel bool, chosen func(scenario) bool) {
		for i, sc := range all {
			if chosen(sc) {
				t.Run(sc.name, func(t *testing.T) {
					if parallel {
						t.Parallel()
					}
					play(t, i)
				})
			}
		}
	}
	t.Run("row", func(t *testing.T) {
		t.Run("4.2", func(t *testing.T) {
			t.Parallel()
			some(t, false, func(sc scenario) bool { return sc.turns && !sc.alone })
		})
		some(t, true, func(sc scenario) bool { return !sc.turns && !sc.alone })
	})
	some(t, false, func(sc scenario) bool { return sc.alone })
	t.Log("\n" + runTable(all, rows))
	writeRows(t, "MOUNTWARDEN_LAB_NFS_ROWS", all, rows)
}
