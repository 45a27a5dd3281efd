package lab_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// canaryScenarios are about what a pod asks to have read.
func canaryScenarios() []scenario {
	file := probes.Canary{File: faultfs.DefaultCanary}
	listing := probes.Canary{Directory: "."}
	return []scenario{
		{
			name: "canary cannot be read", does: "reads fail with EIO; all else is fine",
			want: failed(probes.CauseCanaryFailed), shows: "EIO from canary",
			run: withCanary(file, failing(faultfs.Read, syscall.EIO)),
		},
		{
			name: "canary cannot be opened", does: "opens fail with EIO; all else is fine",
			want: failed(probes.CauseCanaryFailed), shows: "EIO from canary",
			run: withCanary(file, failing(faultfs.Open, syscall.EIO)),
		},
		{
			name: "canary cannot be found", does: "lookups fail with ESTALE; all else is fine",
			want: failed(probes.CauseCanaryFailed), run: withCanary(file, failing(faultfs.Lookup, syscall.ESTALE)),
		},
		{
			name: "canary's folder cannot be listed", does: "listings fail with EIO; all else is fine",
			want: failed(probes.CauseCanaryFailed), shows: "EIO from canary",
			run: withCanary(listing, failing(faultfs.Readdir, syscall.EIO)),
		},
		{
			name: "canary deleted", does: "`rm` after it was read once",
			want: failed(probes.CauseCanaryFailed), shows: "ENOENT from canary",
			run: withCanaryFile(os.Remove),
		},
		{
			name: "canary replaced by a folder", does: "`rm` and `mkdir` after it was read once",
			want: failed(probes.CauseCanaryFailed),
			run:  withCanaryFile(func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) }),
		},
		{
			name: "canary hangs", does: "reads are never answered; all else is fine",
			want: failed(probes.CauseHung), shows: "no answer to canary",
			run: func(s *scene) {
				withCanary(file, func(s *faultfs.Server) error { return s.Hang(faultfs.Read) })(s)
				s.timeout = hangTimeout
			},
		},
		{
			name: "daemon killed, canary", does: "SIGKILL to the daemon of a FUSE with a canary",
			want: failed(probes.CauseDisconnected), run: withCanary(file, (*faultfs.Server).Kill),
		},
		{
			name: "canary denied", does: "opens fail with EACCES",
			want: unknown, shows: "EACCES from canary", run: withCanary(file, failing(faultfs.Open, syscall.EACCES)),
		},
		{
			name: "canary never was there", does: "the annotation names a file that does not exist",
			want: unknown, run: canaryOnly("none"),
		},
		{
			name: "canary leads out of the volume", does: "the annotation names a symlink to `/etc/passwd`",
			want: unknown, run: canaryOnly("link"),
		},
		{
			name: "canary", does: "a file and a folder, both in order",
			want: stays, run: withCanary(probes.Canary{File: faultfs.DefaultCanary, Directory: "."}, func(*faultfs.Server) error { return nil }),
		},
	}
}

func withCanary(c probes.Canary, fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		v.mount.Canary = c
		server := s.fuse(v.source, faultfs.Options{Content: "tweet"})
		s.start(v)
		s.good(1)
		s.must(fault(server))
	}
}

// withCanaryFile lets something happen to a canary on a tmpfs.
func withCanaryFile(act func(path string) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		v.mount.Canary = probes.Canary{File: "canary"}
		s.tmpfs(v.source, "")
		path := filepath.Join(v.source, "canary")
		s.must(os.WriteFile(path, []byte("tweet"), 0o644))
		s.start(v)
		s.good(1)
		s.must(act(path))
	}
}

// canaryOnly asks for a name in a folder that holds a link and nothing else.
func canaryOnly(name string) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		v.mount.Canary = probes.Canary{File: name}
		s.tmpfs(v.source, "")
		s.must(os.Symlink("/etc/passwd", filepath.Join(v.source, "link")))
		s.start(v)
	}
}
