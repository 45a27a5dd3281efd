package lab_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// sourceScenarios are about a hostPath volume whose folder does not stay what it was.
func sourceScenarios() []scenario {
	return []scenario{
		{
			name: "folder of a hostPath deleted", does: "`rmdir` on the host; the container keeps the deleted folder",
			want: failed(probes.CauseSourceDeleted),
			run:  onFolder(os.Remove),
		},
		{
			name: "folder of a hostPath deleted and made anew", does: "`rmdir` and `mkdir` on the host",
			want: failed(probes.CauseSourceDeleted),
			run:  onFolder(func(path string) error { return twice(os.Remove(path), func() error { return os.Mkdir(path, 0o755) }) }),
		},
		{
			name: "folder of a hostPath renamed", does: "`mv` on the host; the container sees the same folder still",
			want: stays,
			run:  onFolder(func(path string) error { return os.Rename(path, path+".old") }),
		},
		{
			name: "socket of a hostPath made anew", does: "`rm` and bind(2) on the host, as a daemon does that starts again",
			want: failed(probes.CauseSourceDeleted), run: socket(func(s *scene, path string) {
				s.must(os.Remove(path))
				s.listen(path)
			}),
		},
		{
			name: "file of a hostPath replaced", does: "another file renamed over it on the host, as editors and configuration tools do",
			want: stays, run: replacedFile,
		},
		{
			name: "socket of a hostPath", does: "the mount is that of a file, which nobody opens",
			want: stays, run: socket(func(*scene, string) {}),
		},
		{
			name: "hostPath over a symlink", does: "a FUSE at `/srv/real`; the volume's path is a symlink to it",
			want: stays, run: linked(func(*faultfs.Server) error { return nil }),
		},
		{
			name: "hostPath over a symlink: daemon killed", does: "the same; SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN", run: linked((*faultfs.Server).Kill),
		},
		{
			name: "folder named deleted", does: "a hostPath `/srv/data/deleted`",
			want: stays, run: deletedByName,
		},
		{
			name: "subPath", does: "a folder of the volume is mounted, not its root",
			want: stays, run: subPath(func(*faultfs.Server) error { return nil }),
		},
		{
			name: "subPath of a FUSE: daemon killed", does: "a folder of the volume is mounted; SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN", run: subPath((*faultfs.Server).Kill),
		},
	}
}

// twice goes on unless the first step has failed.
func twice(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func onFolder(act func(path string) error) func(*scene) {
	return func(s *scene) {
		v := s.hostPath()
		s.start(v)
		s.good(1)
		s.must(act(v.source))
	}
}

// deletedByName comes as near to the kernel's mark, "//deleted", as a name can.
func deletedByName(s *scene) {
	v := s.hostPath()
	v.source = s.dir("srv/data/deleted")
	v.mount.Host.Path = v.source
	s.start(v)
	s.good(1)
}

// linked has a mount that the host's table tells under another path than the pod.
func linked(fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.hostPath()
		server := s.fuse(s.dir("srv/real"), faultfs.Options{})
		s.must(os.Remove(v.source))
		s.must(os.Symlink("real", v.source))
		s.start(v)
		s.good(1)
		s.must(fault(server))
	}
}

func subPath(fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		server := s.fuse(v.source, faultfs.Options{})
		v.source = filepath.Join(v.source, "a", "b")
		s.must(os.MkdirAll(v.source, 0o755))
		s.start(v)
		s.good(1)
		s.must(fault(server))
	}
}

func socket(act func(s *scene, path string)) func(*scene) {
	return func(s *scene) {
		v := s.hostPath()
		v.source, v.file = filepath.Join(v.source, "socket"), true
		v.mount.Host.Path = v.source
		s.listen(v.source)
		s.start(v)
		s.good(1)
		act(s, v.source)
	}
}

func replacedFile(s *scene) {
	v := s.hostPath()
	v.source, v.file = filepath.Join(v.source, "file"), true
	v.mount.Host.Path = v.source
	s.must(os.WriteFile(v.source, []byte("old"), 0o644))
	s.start(v)
	s.good(1)
	s.must(os.WriteFile(v.source+".new", []byte("new"), 0o644))
	s.must(os.Rename(v.source+".new", v.source))
}

// listen makes a socket at a path of any length, and leaves it there.
func (s *scene) listen(path string) {
	s.t.Helper()
	folder, err := os.Open(filepath.Dir(path))
	s.must(err)
	defer folder.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)) // unix(7) has 108 bytes for it
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	s.must(err)
	listener.SetUnlinkOnClose(false)
	s.must(listener.Close())
}
