package lab_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// identityScenarios are about containers that are hard to tell apart or to find.
func identityScenarios() []scenario {
	return []scenario{
		{
			name: "shared process namespace, daemon killed", does: "two containers see each other's processes; one of them has lost its mount",
			want: failed(probes.CauseDisconnected), run: sharedProcesses(true),
		},
		{
			name: "shared process namespace, the other container unmounts", does: "the neighbour, which is not watched, unmounts its own",
			want: stays, run: sharedProcesses(false),
		},
		{
			name: "hostUsers: false, daemon killed", does: "the container has a user namespace of its own",
			want: failed(probes.CauseDisconnected), run: userSpace((*faultfs.Server).Kill),
		},
		{
			name: "hostUsers: false", does: "the container has a user namespace of its own; nothing else",
			want: stays, run: userSpace(func(*faultfs.Server) error { return nil }),
		},
		{
			name: "the container's first thread has ended, daemon killed", does: "a zombie leader with live threads; SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), run: zombieLeader((*faultfs.Server).Kill),
		},
		{
			name: "the container's first thread has ended", does: "a zombie leader with live threads; nothing else",
			want: stays, run: zombieLeader(func(*faultfs.Server) error { return nil }),
		},
		{
			name: "container restarted in place, mount good again", does: "daemon killed, one look, then mounted anew and a new container in the same pod",
			want: stays, run: restarted,
		},
		{
			name: "container restarted in place, daemon killed after that", does: "the new container's mount is the one that counts",
			want: failed(probes.CauseDisconnected), run: restartedThenKilled,
		},
		{
			name: "container has ended", does: "its process is gone, its mounts with it",
			want: unknown, run: ended,
		},
	}
}

// sharedProcesses runs a neighbour with a volume of its own in the process namespace of the pod's container.
func sharedProcesses(kill bool) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		server := s.fuse(v.source, faultfs.Options{})
		s.spec.Processes = true
		s.start(v)
		other := s.fuse(s.dir("srv/other"), faultfs.Options{})
		neighbour := s.neighbour(bind{Source: other.Mountpoint(), Path: "/data", Propagation: unix.MS_PRIVATE})
		s.good(1)
		if kill {
			s.must(server.Kill())
			return
		}
		neighbour.do(s.t, "umount", "/data")
	}
}

// neighbour runs another container in the process namespace of the pod's.
func (s *scene) neighbour(b bind) *container {
	s.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	enter := func(namespace string) {
		f, err := os.Open(namespace)
		s.must(err)
		defer f.Close()
		s.must(unix.Setns(int(f.Fd()), unix.CLONE_NEWPID)) // of the children of this thread only
	}
	enter(fmt.Sprintf("/proc/%d/ns/pid", s.container.cmd.Process.Pid))
	defer enter("/proc/self/ns/pid")
	return newContainer(s.t, spec{Mounts: []bind{b}})
}

func userSpace(fault func(*faultfs.Server) error) func(*scene) {
	run := onFUSE(faultfs.Options{}, fault)
	return func(s *scene) {
		s.spec.UserSpace = true
		run(s)
	}
}

func zombieLeader(fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		server := s.fuse(v.source, faultfs.Options{})
		s.start(v)
		s.do(loseLeader)
		eventually(s.t, "the leader is a zombie", func() bool {
			return strings.HasPrefix(field(s.t, s.container.cmd.Process.Pid)["State"], "Z")
		})
		s.good(1)
		s.must(fault(server))
	}
}

func restarted(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.must(server.Kill())
	s.look()
	s.clock.skip(s.verdict.Next)
	remount(s, v.source)
	s.restart()
}

func restartedThenKilled(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.restart()
	s.good(1)
	s.must(server.Kill())
}

// ended is what the agent sees until the kubelet has told of the end: the mount on the host is good.
func ended(s *scene) {
	v := s.csi()
	s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.container.kill()
	s.container = nil
}
