package lab_test

import (
	"fmt"
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// healthyScenarios only look like failures. More of them stand beside the failures that they look like.
func healthyScenarios() []scenario {
	return []scenario{
		{
			name: "root folder of mode 000", does: "a tmpfs of mode 000",
			want: stays, run: onTmpfs("mode=000", nil),
		},
		{
			name: "tmpfs with no block left", does: "a tmpfs of 64 KiB, filled",
			want: warned("NoSpace"),
			run:  onTmpfs("size=64k", func(s *scene, path string) { s.must((&disk{path: path}).fill()) }),
		},
		{
			name: "read-only from the beginning", does: "a file system mounted read-only, for a volume that is not marked so",
			want: stays, run: readOnlyFromTheBeginning,
		},
		{
			name: "volumeMount with readOnly", does: "the container's mount is read-only, the file system is not",
			want: stays, run: readOnlyVolume(func(*scene, string) {}),
		},
		{
			name: "volumeMount with readOnly, file system remounted read-only", does: "the pod has asked for no more",
			want: stays, run: readOnlyVolume(func(s *scene, path string) { s.must((&disk{path: path}).remountReadOnly()) }),
		},
		{
			name: "container's mount remounted read-only", does: "`mount -o remount,bind,ro` in the container, as a recursive read-only root does",
			want: stays, run: inContainer("read-only", "/data"),
		},
		{
			name: "volume mounted twice", does: "two volumeMounts of one CSI volume",
			want: stays, run: mountedTwice(func(*faultfs.Server) error { return nil }),
		},
		{
			name: "volume mounted twice, daemon killed", does: "two volumeMounts of one CSI volume; SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN", run: mountedTwice((*faultfs.Server).Kill),
		},
		{
			name: "one of two volumes, daemon killed", does: "SIGKILL to the daemon of the second",
			want: failed(probes.CauseDisconnected), at: "/other", run: oneOfTwo,
		},
		{
			name: "autofs", does: "an automount point reaches the container; it is never triggered",
			want: unknown, run: autofs,
		},
		{
			name: "mountPath that leads over symlinks", does: "`/var/run/app`, where `/var/run` leads to `/run`",
			want: stays, run: overSymlink,
		},
		{
			name: "mountPath overmounted by the application", does: "a tmpfs mounted over the volume in the container",
			want: stays, run: overmounted,
		},
	}
}

func onTmpfs(options string, act func(s *scene, path string)) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		s.tmpfs(v.source, options)
		s.start(v)
		s.good(1)
		if act != nil {
			act(s, v.source)
		}
	}
}

func readOnlyFromTheBeginning(s *scene) {
	v := s.csi()
	s.tmpfs(v.source, "")
	s.must((&disk{path: v.source}).remountReadOnly())
	s.start(v)
}

func readOnlyVolume(act func(s *scene, path string)) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		v.mount.ReadOnly = true
		s.tmpfs(v.source, "")
		s.start(v)
		s.good(1)
		act(s, v.source)
	}
}

func overSymlink(s *scene) {
	v := s.csi()
	v.mount.Path, v.at = "/var/run/app", "/run/app"
	s.spec.Links = map[string]string{"/var/run": "/run"}
	s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
}

func overmounted(s *scene) {
	v := s.csi()
	s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.do("tmpfs", "/data")
}

func mountedTwice(fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		server := s.fuse(v.source, faultfs.Options{})
		again := v
		again.mount.Path = "/again"
		s.start(v, again)
		s.good(2)
		s.must(fault(server))
	}
}

func oneOfTwo(s *scene) {
	one, two := s.csi(), s.claim()
	two.mount.Volume, two.mount.Path = "other", "/other"
	s.fuse(one.source, faultfs.Options{})
	server := s.fuse(two.source, faultfs.Options{})
	s.start(one, two)
	s.good(2)
	s.must(server.Kill())
}

// autofs mounts an automount point on the volume's folder, which reaches the container. A listing in the container proves
// afterwards that it could have been triggered, and was not.
func autofs(s *scene) {
	v := s.hostPath()
	s.start(v)
	s.good(1)
	var pipe [2]int
	s.must(syscall.Pipe2(pipe[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK))
	s.t.Cleanup(func() { _ = syscall.Close(pipe[0]) })
	// All trigger it but the process group of its daemon, which nobody here is of.
	s.mount("lab", v.source, "autofs", 0, fmt.Sprintf("fd=%d,pgrp=1,minproto=5,maxproto=5,direct", pipe[1]))
	s.must(syscall.Close(pipe[1]))
	triggered := func() bool {
		n, _ := syscall.Read(pipe[0], make([]byte, 512)) // EAGAIN when there is nothing
		return n > 0
	}
	s.after = func() {
		if triggered() {
			s.t.Error("a look has triggered the automount")
		}
		fmt.Fprintln(s.container.stdin, "list /data") // hangs until the container ends
		eventually(s.t, "automount triggered by a listing", triggered)
		s.container.kill()
	}
}
