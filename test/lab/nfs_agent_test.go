package lab_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/probes/stuck"
	"github.com/mountwarden/mountwarden/test/knfsd"
)

// versions are those of NFS.
var versions = []string{"3", "4.2"}

// manyNFS is a pod with n mounts of one server, each with a super block of its own, and a healthy tmpfs behind them.
func manyNFS(t *testing.T, server *nfsServer, n int) (s *scene, gates []*knfsd.Gate) {
	t.Helper()
	s = newScene(t, nil)
	binds, paths := map[string]string{}, []string{}
	for i := range n {
		at := s.dir(fmt.Sprintf("srv/%02d", i))
		m := s.mountNFS(server, nfsKind{versions[i%2], "hard"}, at, ",nosharecache")
		gates = append(gates, m.gate)
		path := fmt.Sprintf("/data/%02d", i)
		binds[path], paths = at, append(paths, path)
	}
	binds["/tmpfs"], paths = s.dir("srv/tmpfs"), append(paths, "/tmpfs")
	s.container = newContainer(t, spec{Binds: binds})
	s.pod = podOf(s.container, paths...)
	return s, gates
}

// Twenty mounts of a server that is away keep one worker each and nobody else; those are no longer there at once when the agent ends, and
// come back when the server does.
func TestNFSManyHungMounts(t *testing.T) {
	server := startNFS(t)
	s, gates := manyNFS(t, server, many)
	p := newProber(t, nodeOptions())
	for _, o := range lookAll(t, p, s.pod, timeout) {
		expect(t, o, probes.Healthy, probes.CauseNone)
	}
	setAll(t, gates, knfsd.Vanish)
	seen := lookAll(t, p, s.pod, manyTimeout)
	for _, o := range seen[:many] {
		expect(t, o, probes.Broken, probes.CauseHung)
	}
	expect(t, seen[many], probes.Healthy, probes.CauseNone)
	if stats := p.Stats(); stats.Parked != many {
		t.Errorf("%d looks should be parked: %+v", many, stats)
	}
	setAll(t, gates, knfsd.Open)
	eventually(t, "all parked workers returned", func() bool { return p.Stats().Parked == 0 })
	eventually(t, "all are healthy again", func() bool {
		for _, o := range p.Probe(t.Context(), s.pod, timeout) {
			if o.Health != probes.Healthy {
				return false
			}
		}
		return true
	})
	setAll(t, gates, knfsd.Stall)
	lookAll(t, p, s.pod, manyTimeout)
	if stats := p.Stats(); stats.Parked != many {
		t.Errorf("%d looks should be parked before the end: %+v", many, stats)
	}
	began := time.Now()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("some workers could not be killed: %v", err)
	}
	took := time.Since(began)
	t.Logf("the agent's workers ended after %s", took)
	if took > closeWithin {
		t.Errorf("the agent's workers ended after %s, want %s", took, closeWithin)
	}
	if left := children(t); len(left) != 0 {
		t.Errorf("workers left: %v", left)
	}
}

// closeWithin is what the end of an agent may take with all of its workers inside an NFS that is away, on an emulated machine.
const closeWithin = 4 * time.Second

func setAll(t *testing.T, gates []*knfsd.Gate, state knfsd.State) {
	t.Helper()
	for _, g := range gates {
		must(t, g.Set(state))
	}
}

// A server that is restarted, and away for half a minute for it, never costs a pod with a hard mount its life: with the default settings and
// on the real clock, since the client takes its own time to come back.
func TestNFSServerRestart(t *testing.T) {
	server := startNFS(t)
	p := newLooker(t, nodeOptions())
	const away = 30 * time.Second
	for _, row := range []struct { // mounts of NFS 4 would share what is wrong with one of them
		version, name string
		state         knfsd.State
	}{{"3", "gone", knfsd.Refuse}, {"3", "vanished", knfsd.Vanish}, {"4.2", "gone", knfsd.Refuse}} {
		t.Run(row.version+" "+row.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, p)
			m, v := s.nfs(server, nfsKind{row.version, "hard"})
			s.start(v)
			s.good(1)
			s.clock = clock{}
			s.state = nil
			s.timeout = 5 * time.Second
			s.look()
			must(t, m.gate.Set(row.state))
			began := time.Now()
			back := time.AfterFunc(away, func() { must(t, m.gate.Set(knfsd.Open)) })
			defer back.Stop()
			recovered := s.watch(server, began.Add(away), 2*time.Minute)
			t.Logf("healthy again %s after the server was", recovered.Sub(began.Add(away)).Round(100*time.Millisecond))
			if t.Failed() {
				t.Log(strings.Join(s.history, "\n"))
			}
		})
	}
}

// watch looks as the agent would, on the machine's clock, until the mount is healthy after a time, and returns when. Should the pod have failed
// meanwhile, it would not be removed.
func (s *scene) watch(server *nfsServer, after time.Time, within time.Duration) time.Time {
	s.t.Helper()
	deadline := time.After(within)
	for {
		s.look()
		if now := time.Now(); now.After(after) && s.seen[0].Health == probes.Healthy {
			return now
		}
		if _, fails := s.verdict.Decision.Reason(); fails {
			expectFresh(s.t, server.checker.CheckReadiness(s.t.Context(), s.failedVolume()), probes.NotReady, "")
		}
		select {
		case <-time.After(s.verdict.Next):
		case <-deadline:
			s.t.Fatalf("not healthy again within %s: %+v", within, s.seen)
		}
	}
}

// A process that has written and not synced cannot end while the server is away, however it is killed. It is said so, and where.
func TestNFSStuckWriter(t *testing.T) {
	server := startNFS(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			s := newScene(t, newLooker(t, nodeOptions()))
			m, v := s.nfs(server, nfsKind{version, "hard"})
			s.start(v)
			s.good(1)
			s.do("create", "/data/file")
			must(t, m.gate.Set(knfsd.Stall))
			s.do("dirty")
			pid := s.container.cmd.Process.Pid
			examiner := stuck.New(s.procOf(pid))
			must(t, s.container.cmd.Process.Kill())
			eventually(t, "it is killed and waits", func() bool { return isStuck(t, "/proc", pid) })
			got := examiner.Why(t.Context(), s.pod.UID)
			t.Logf("%s", got.Text)
			why := "has written what has not reached its server"
			if !tellsWhere(t) {
				why = "cannot be killed"
			}
			if want := fmt.Sprintf("process %d (", pid); !got.Known || !strings.HasPrefix(got.Text, want) || !strings.Contains(got.Text, why) ||
				!strings.HasSuffix(got.Text, " /data") || len(got.FUSE) != 0 {
				t.Errorf("%+v", got)
			}
			must(t, m.gate.Set(knfsd.Open))
			_ = s.container.cmd.Wait() // returns, which is all that is to be shown
			s.container = nil
		})
	}
}

// What SIGKILL does not end is a lookup behind another one that hangs, in the same folder. The agent's workers never look by name, and so all of
// them can be killed whatever the application is at.
func TestNFSWorkersCanBeKilled(t *testing.T) {
	server := startNFS(t)
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			p := newProber(t, node.Options{HostPID: nodeOptions().HostPID})
			s := newScene(t, p)
			m, v := s.nfs(server, nfsKind{version, "hard"})
			s.start(v)
			s.good(1)
			must(t, m.gate.Set(knfsd.Stall))
			s.tell("write " + filepath.Join("/data", "new")) // holds the lock of the folder
			s.timeout = hangTimeout
			s.look()
			expect(t, s.seen[0], probes.Broken, probes.CauseHung)
			for _, pid := range children(t) {
				must(t, syscall.Kill(pid, syscall.SIGKILL))
			}
			eventually(t, "workers ended", func() bool { return len(children(t)) == 0 })
		})
	}
}
