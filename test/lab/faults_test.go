package lab_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

func TestHangAndRecovery(t *testing.T) {
	for _, row := range []struct {
		name        string
		hang, clear func(*faultfs.Server) error
	}{
		{"before the request is read",
			func(s *faultfs.Server) error { return s.Stop() }, func(s *faultfs.Server) error { return s.Continue() }},
		{"after the request is read",
			func(s *faultfs.Server) error { return s.Hang(faultfs.All) }, func(s *faultfs.Server) error { return s.Clear() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newLooker(t, node.Options{})
			s := newVolume(t, faultfs.Options{})
			c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
			must(t, row.hang(s))
			first := lookAt(t, p, podOf(c, "/data"), hangTimeout)
			expect(t, first, probes.Broken, probes.CauseHung)
			if first.Operation != probes.OpStatfs {
				t.Errorf("hangs in %s, want fstatfs", first.Operation)
			}

			// Another pod on the same file system is answered from the same look.
			other := newContainer(t, spec{Binds: map[string]string{"/mnt/x": s.Mountpoint()}})
			began := time.Now()
			second := lookAt(t, p, podOf(other, "/mnt/x"), hangTimeout)
			expect(t, second, probes.Broken, probes.CauseHung)
			if took := time.Since(began); took >= hangTimeout {
				t.Errorf("a known hang was waited for again: %s", took)
			}
			if !second.Started.Equal(first.Started) {
				t.Errorf("hangs since %s, then since %s", first.Started, second.Started)
			}
			if stats := p.Stats(); stats.Parked != 1 || stats.InFlight != 1 {
				t.Errorf("one look should be parked: %+v", stats)
			}

			must(t, row.clear(s))
			eventually(t, "the parked worker returned", func() bool { return p.Stats().Parked == 0 })
			expect(t, lookAt(t, p, podOf(c, "/data"), timeout), probes.Healthy, probes.CauseNone)
		})
	}
}

func TestTimeoutIsTheCallersOwn(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
	must(t, s.Slow(faultfs.Statfs, 2*hangTimeout))
	expect(t, lookAt(t, p, podOf(c, "/data"), hangTimeout), probes.Broken, probes.CauseHung)
	// Who grants more time gets the answer although the same look counts as hung for the other.
	expect(t, lookAt(t, p, podOf(c, "/data"), timeout), probes.Healthy, probes.CauseNone)
}

func TestProbeSelf(t *testing.T) {
	p := newProber(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	seen := p.ProbeSelf(context.Background(), selfAt(s.Mountpoint(), t.TempDir(), "/nowhere", "relative"), timeout)
	if len(seen) != 4 {
		t.Fatalf("%d observations of 4 paths", len(seen))
	}
	expect(t, seen[0], probes.Healthy, probes.CauseNone)
	expect(t, seen[1], probes.Healthy, probes.CauseNone)
	expect(t, seen[2], probes.Unknown, probes.CauseNone)
	expect(t, seen[3], probes.Unknown, probes.CauseNone)
	if seen[2].Errno != syscall.ENOENT {
		t.Errorf("no such path: %+v", seen[2])
	}
	must(t, s.Kill())
	seen = p.ProbeSelf(context.Background(), selfAt(s.Mountpoint()), timeout)
	expect(t, seen[0], probes.Broken, probes.CauseDisconnected)
}
