package lab_test

import (
	"fmt"
	"path/filepath"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// childScenarios are about mounts below a volume, such as a FUSE that a driver mounts into a shared folder.
func childScenarios() []scenario {
	const sub = "/data/sub"
	return []scenario{
		{
			name: "FUSE below a hostPath: daemon killed", does: "SIGKILL to the daemon; nobody mounts anew",
			want: failed(probes.CauseDisconnected), at: sub,
			run: below((*scene).hostPath, 2, func(_ *scene, _ string, server *faultfs.Server) error { return server.Kill() }),
		},
		{
			name: "FUSE below an emptyDir: daemon killed", does: "the same in an emptyDir, as a sidecar does it",
			want: failed(probes.CauseDisconnected), at: sub,
			run: below((*scene).emptyDir, 1, func(_ *scene, _ string, server *faultfs.Server) error { return server.Kill() }),
		},
		{
			name: "mount below a hostPath lost in the container", does: "`umount -l` in the container; the host has it",
			want: failed(probes.CauseNotMounted), at: sub,
			run: below((*scene).hostPath, 2, func(s *scene, _ string, _ *faultfs.Server) error { s.do("umount", sub); return nil }),
		},
		{
			name: "mount below an emptyDir gone everywhere", does: "a sidecar unmounts it and ends",
			want: failed(probes.CauseNotMounted), at: sub, run: below((*scene).emptyDir, 1, unmountEverywhere),
		},
		{
			name: "expected mount below a hostPath gone everywhere", does: "the pod's annotation names it; `umount` on the host, which reaches the container",
			want: failed(probes.CauseNotMounted), at: sub, run: below(expecting, 2, unmountEverywhere),
		},
		{
			name: "mount below a hostPath gone everywhere", does: "`umount` on the host of a mount that nobody expects: a new pod would not have it either",
			want: unknown, at: sub, run: below((*scene).hostPath, 2, unmountEverywhere),
		},
		{
			name: "expected mount never came", does: "the pod's annotation names it; nobody mounts it",
			want: unknown, at: sub, run: func(s *scene) { s.start(expecting(s)) },
		},
		{
			name: "propagation lost", does: "no propagation is asked for; the host mounts after the container has started",
			want: failed(probes.CauseNotMounted), at: sub, run: propagationLost,
		},
		{
			name: "FUSE below a hostPath mounted anew", does: "daemon killed, one look, then the driver mounts anew, which reaches the container",
			want: stays, run: below((*scene).hostPath, 2, mountAnew),
		},
		{
			name: "FUSE below an emptyDir mounted anew", does: "the same in an emptyDir",
			want: stays, run: below((*scene).emptyDir, 1, mountAnew),
		},
		{
			name: "mount below a hostPath that the container never had", does: "mounted on the host, private propagation, not expected by anybody",
			want: stays, run: neverHad,
		},
		{
			name: "mount on an automount point expires", does: "autofs below a hostPath; the FUSE on it is seen, then unmounted on the host",
			want: stays, run: expires,
		},
		{
			name: "the application's own mount below a volume comes and goes", does: "a tmpfs mounted in the container, seen, and unmounted there",
			want: stays, run: ownMount,
		},
		{
			name: "emptyDir", does: "nothing is mounted below it",
			want: ignored, run: func(s *scene) { s.start(s.emptyDir()); s.good(0) },
		},
	}
}

// below mounts a FUSE below the volume when the container runs, waits until it is known, and lets something happen to it. n
// mounts are looked at then.
func below(volumeOf func(*scene) volume, n int, act func(s *scene, path string, server *faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := volumeOf(s)
		s.start(v)
		path := filepath.Join(v.source, "sub")
		s.must(syscall.Mkdir(path, 0o755))
		server := s.fuse(path, faultfs.Options{})
		s.good(n)
		s.must(act(s, path, server))
	}
}

func mountAnew(s *scene, path string, server *faultfs.Server) error {
	if err := server.Kill(); err != nil {
		return err
	}
	s.look()
	if o := s.worst(); o.Cause != probes.CauseDisconnected {
		s.t.Errorf("it should be seen dead: %+v", o)
	}
	s.clock.skip(s.verdict.Next)
	remount(s, path)
	return nil
}

func unmountEverywhere(_ *scene, _ string, server *faultfs.Server) error { return server.Close() }

func expecting(s *scene) volume {
	v := s.hostPath()
	v.mount.Expected = []probes.Expected{{Path: "sub"}}
	return v
}

func propagationLost(s *scene) {
	v := privateHostPath(s)
	v.mount.Expected = []probes.Expected{{Path: "sub"}}
	s.start(v)
	path := filepath.Join(v.source, "sub")
	s.must(syscall.Mkdir(path, 0o755))
	s.fuse(path, faultfs.Options{})
}

func neverHad(s *scene) {
	v := privateHostPath(s)
	s.start(v)
	s.good(1)
	path := filepath.Join(v.source, "sub")
	s.must(syscall.Mkdir(path, 0o755))
	s.fuse(path, faultfs.Options{})
}

// expires is what CVMFS and NFS automounters do all day. Who is of the process group of the automount's daemon, as all
// processes here are, does not trigger it.
func expires(s *scene) {
	v := s.hostPath()
	point := filepath.Join(v.source, "auto")
	s.must(syscall.Mkdir(point, 0o755))
	var pipe [2]int
	s.must(syscall.Pipe2(pipe[:], syscall.O_CLOEXEC))
	s.t.Cleanup(func() { _ = syscall.Close(pipe[0]) })
	s.mount("lab", point, "autofs", 0, fmt.Sprintf("fd=%d,minproto=5,maxproto=5,indirect", pipe[1]))
	s.must(syscall.Close(pipe[1]))
	s.start(v)
	mounted := filepath.Join(point, "sub")
	s.must(syscall.Mkdir(mounted, 0o755))
	server := s.fuse(mounted, faultfs.Options{})
	s.good(2)
	s.must(server.Close())
}

func ownMount(s *scene) {
	v := s.hostPath()
	s.start(v)
	s.do("tmpfs", "/data/scratch")
	s.good(1)
	s.do("umount", "/data/scratch")
}
