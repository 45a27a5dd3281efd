package lab_test

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// hostScenarios are those in which the host and the container do not see the same.
func hostScenarios() []scenario {
	return []scenario{
		{
			name: "host remounted, container kept the dead mount", does: "daemon killed; the driver mounts anew at the kubelet's path",
			want: failed(probes.CauseStaleGeneration), run: remountedWhenDead((*scene).csi),
		},
		{
			name: "host remounted a claim, container kept the dead mount", does: "the same with a PersistentVolumeClaim, whose folder the pod does not tell",
			want: failed(probes.CauseStaleGeneration), run: remountedWhenDead((*scene).claim),
		},
		{
			name: "host remounted a hostPath, container kept the dead mount", does: "the same with a FUSE mounted at the path of a hostPath volume",
			want: failed(probes.CauseStaleGeneration), run: remountedWhenDead(privateHostPath),
		},
		{
			name: "host remounted one of two claims", does: "the same with two PersistentVolumeClaims, one of which is well",
			want: failed(probes.CauseStaleGeneration), at: "/other", run: oneOfTwoClaims,
		},
		{
			name: "container hangs, host remounted", does: "SIGSTOP to the daemon; the driver mounts anew at the kubelet's path",
			want: failed(probes.CauseStaleGeneration), run: remountedWhenHung,
		},
		{
			name: "unmounted in the container", does: "`umount -l` in the container",
			want: failed(probes.CauseNotMounted), run: inContainer("umount", "/data"),
		},
		{
			name: "mountPath hidden by another mount", does: "a tmpfs mounted over the parent folder in the container",
			want: failed(probes.CauseNotMounted), run: hidden,
		},
		{
			name: "bound before it was mounted", does: "the container starts, then the CSI driver mounts",
			want: failed(probes.CauseNotMounted), run: boundTooEarly((*scene).csi),
		},
		{
			name: "bound before it was mounted, hostPath", does: "the container starts without propagation, then a FUSE is mounted at the hostPath",
			want: failed(probes.CauseNotMounted), run: boundTooEarly(privateHostPath),
		},
		{
			name: "container cannot start, the mount is dead", does: "daemon killed; the kubelet cannot make the container's bind",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN", run: cannotStart,
		},
		{
			name: "unmounted on the host", does: "`umount -l` of the kubelet's path; the container keeps a working mount",
			want: warned(probes.WarningHostBroken), run: onHost((*scene).csi, (*scene).unmount),
		},
		{
			name: "claim unmounted on the host", does: "the same with a PersistentVolumeClaim",
			want: warned(probes.WarningHostBroken), run: onHost((*scene).claim, (*scene).unmount),
		},
		{
			name: "host broken, container fine", does: "a FUSE mounted over the kubelet's path, whose daemon is killed",
			want: warned(probes.WarningHostBroken), run: onHost((*scene).csi, func(s *scene, path string) { s.must(s.fuse(path, faultfs.Options{}).Kill()) }),
		},
		{
			name: "host remounted, container fine", does: "`umount -l` of the kubelet's path and another mount there; the old daemon serves on",
			want: warned(probes.WarningStaleGeneration),
			run:  onHost((*scene).csi, remount),
		},
		{
			name: "host remounted a claim, container fine", does: "the same with a PersistentVolumeClaim",
			want: warned(probes.WarningStaleGeneration), run: onHost((*scene).claim, remount),
		},
		{
			name: "host overmounted, container fine", does: "another FUSE mounted over the kubelet's path",
			want: warned(probes.WarningStaleGeneration), run: onHost((*scene).csi, func(s *scene, path string) { s.fuse(path, faultfs.Options{}) }),
		},
	}
}

func privateHostPath(s *scene) volume {
	v := s.hostPath()
	v.propagation = syscall.MS_PRIVATE
	return v
}

// unmount takes a mount of the host away, whoever uses it.
func (s *scene) unmount(path string) {
	s.t.Helper()
	s.must(syscall.Unmount(path, syscall.MNT_DETACH))
}

func remountedWhenDead(volumeOf func(*scene) volume) func(*scene) {
	return func(s *scene) {
		v := volumeOf(s)
		server := s.fuse(v.source, faultfs.Options{})
		s.start(v)
		s.good(1)
		s.must(server.Kill())
		remount(s, v.source)
	}
}

func remountedWhenHung(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.must(server.Stop())
	remount(s, v.source)
	s.timeout = hangTimeout
}

func inContainer(words ...string) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		s.fuse(v.source, faultfs.Options{})
		s.start(v)
		s.good(1)
		s.do(words...)
	}
}

// onHost has a prober of its own, whose first reading of the host's table shows the mount: the next one may be put off for
// longer than the looks of a scenario take.
func onHost(volumeOf func(*scene) volume, act func(s *scene, path string)) func(*scene) {
	return func(s *scene) {
		s.prober = newLooker(s.t, nodeOptions())
		v := volumeOf(s)
		s.fuse(v.source, faultfs.Options{})
		s.start(v)
		s.good(1)
		act(s, v.source)
	}
}

func remount(s *scene, path string) {
	s.unmount(path)
	s.fuse(path, faultfs.Options{})
}

// oneOfTwoClaims has a prober of its own for the sake of onHost.
func oneOfTwoClaims(s *scene) {
	s.prober = newLooker(s.t, nodeOptions())
	one, two := s.claim(), s.claim()
	two.mount.Volume, two.mount.Path = "other", "/other"
	s.fuse(one.source, faultfs.Options{})
	server := s.fuse(two.source, faultfs.Options{})
	s.start(one, two)
	s.good(2)
	s.must(server.Kill())
	remount(s, two.source)
}

func hidden(s *scene) {
	v := s.csi()
	v.mount.Path = "/mnt/data"
	s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.do("tmpfs", "/mnt")
}

func boundTooEarly(volumeOf func(*scene) volume) func(*scene) {
	return func(s *scene) {
		v := volumeOf(s)
		s.start(v)
		s.fuse(v.source, faultfs.Options{})
	}
}

func cannotStart(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.must(server.Kill())
	s.container.kill()
	s.container = nil
}
