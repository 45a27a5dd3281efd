package faultfs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// withBackend has the mount need the file from grace after the mount on.
func withBackend(file string, grace time.Duration) func(*faultfs.StartOptions) {
	return func(o *faultfs.StartOptions) { o.Backend, o.BackendGrace = file, grace }
}

func backendFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backend")
	must(t, os.WriteFile(file, nil, 0o600))
	return file
}

// isHanging reports whether exactly statfs and lookup hang.
func isHanging(t *testing.T, s *faultfs.Server) bool {
	t.Helper()
	status, err := s.Status()
	must(t, err)
	return len(status.Faults) == 2 && status.Faults[faultfs.Statfs] == faultfs.Hang() && status.Faults[faultfs.Lookup] == faultfs.Hang()
}

func TestStatfsAndLookupHangWhileTheBackendIsAway(t *testing.T) {
	file := backendFile(t)
	s := newServer(t, withBackend(file, time.Millisecond))
	expectTouch(t, "statfs", s.Mountpoint(), "ok")
	for range 2 {
		must(t, os.Remove(file))
		eventually(t, "statfs and lookup hang", func() bool { return isHanging(t, s) })
		statfs, lookup := startTouch(t, "statfs", s.Mountpoint()), startTouch(t, "read", canary(s))
		eventually(t, "both are held", func() bool { return held(t, s) == 2 })
		expectTouch(t, "stat", s.Mountpoint(), "ok")
		must(t, os.WriteFile(file, nil, 0o600))
		if a, b := statfs.wait(t), lookup.wait(t); a != "ok" || b != "tweet" {
			t.Errorf("with the backend again: statfs %q, read %q", a, b)
		}
	}
}

func TestANewMountAnswersWithoutItsBackend(t *testing.T) {
	const grace = time.Second
	begin := time.Now()
	s := newServer(t, withBackend("/no/such/backend", grace))
	expectTouch(t, "statfs", s.Mountpoint(), "ok")
	expectTouch(t, "read", canary(s), "tweet")
	eventually(t, "statfs and lookup hang", func() bool { return isHanging(t, s) })
	if after := time.Since(begin); after < grace {
		t.Errorf("it hung after %v, want %v or more", after, grace)
	}
}

func TestAMountWithoutItsBackendEnds(t *testing.T) {
	for name, end := range map[string]func(*faultfs.Server) error{
		"closed": (*faultfs.Server).Close, "aborted": (*faultfs.Server).Abort, "killed": (*faultfs.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, withBackend("/no/such/backend", time.Millisecond))
			eventually(t, "statfs and lookup hang", func() bool { return isHanging(t, s) })
			stuck := startTouch(t, "statfs", s.Mountpoint())
			eventually(t, "statfs is held", func() bool { return held(t, s) == 1 })
			must(t, end(s))
			stuck.wait(t)
			<-s.Ended()
		})
	}
}
