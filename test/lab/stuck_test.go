package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/proc"
	"github.com/mountwarden/mountwarden/probes/stuck"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// fusectl is where a node has it.
const fusectl = "/sys/fs/fuse/connections"

// stuckPod is a pod whose process waits for a FUSE server that has read its request, so that not even SIGKILL ends it, and the /proc
// of its node.
type stuckPod struct {
	*scene
	server   *faultfs.Server
	device   string
	proc     string
	examiner *stuck.Examiner
	volume   string // on the host
}

func newStuckPod(t *testing.T, opts faultfs.Options, provoke func(*stuckPod)) *stuckPod {
	t.Helper()
	program := ownWorker(t)
	mountFusectl(t)
	s := &stuckPod{scene: newScene(t, nil)}
	v := s.csi()
	s.volume = v.source
	s.server = s.fuse(v.source, opts)
	s.device = fmt.Sprint("0:", s.server.Connection())
	s.container = newContainer(t, spec{Mounts: []bind{
		{Source: v.source, Path: "/data", Propagation: v.propagation},
		{Source: program, Path: staticProgram, Propagation: syscall.MS_PRIVATE, File: true},
	}})
	s.proc = s.procOf(s.container.cmd.Process.Pid)
	s.examiner = stuck.New(s.proc)
	t.Cleanup(func() { // before the container is waited for
		if err := s.server.Clear(); !errors.Is(err, faultfs.ErrServerGone) { // it ends when it was aborted
			must(t, err)
		}
	})
	provoke(s)
	// The kernel takes a request that the server has not read yet back from it when who asked is killed.
	eventually(t, "the server holds its request", func() bool {
		status, err := s.server.Status()
		s.must(err)
		return status.Held > 0
	})
	s.must(s.container.cmd.Process.Kill())
	eventually(t, "it is killed and waits", func() bool { return isStuck(t, s.proc, s.container.cmd.Process.Pid) })
	return s
}

// isStuck reports whether a process of the /proc at root waits and cannot be killed. Of one that has not left its processor yet the
// kernel does not tell where (get_wchan of the kernel).
func isStuck(t *testing.T, root string, pid int) bool {
	t.Helper()
	tasks, err := proc.Tasks(root, pid)
	must(t, err)
	return slices.ContainsFunc(tasks, func(p proc.Task) bool { return p.State == 'D' && (p.Wchan != "" || p.Execs || !tellsWhere(t)) })
}

// list has the pod's process wait for the FUSE as most do.
func list(s *stuckPod) {
	s.t.Helper()
	s.must(s.server.Hang(faultfs.All))
	s.tell("list /data")
}

// execs has it wait within execve, which closes a file.
func execs(s *stuckPod) {
	s.t.Helper()
	s.do("exec", "/data/"+faultfs.DefaultCanary)
	s.must(s.server.Hang(faultfs.Other))
	s.tell("go")
}

// tell does not wait for an answer.
func (s *scene) tell(line string) {
	s.t.Helper()
	_, err := fmt.Fprintln(s.container.stdin, line)
	s.must(err)
}

// mountFusectl mounts it in the test's own mount namespace, as a node's init does.
func mountFusectl(t *testing.T) {
	t.Helper()
	must(t, syscall.Mount("fusectl", fusectl, "fusectl", 0, ""))
	t.Cleanup(func() { must(t, syscall.Unmount(fusectl, syscall.MNT_DETACH)) })
}

// procOf is the /proc of a node: its first process is this one, and all of the machine's are there, too. The pod's has the cgroup that a
// kubelet would have made.
func (s *scene) procOf(pid int) string {
	s.t.Helper()
	root := s.t.TempDir()
	names, err := os.ReadDir("/proc")
	s.must(err)
	for _, name := range names {
		if n, err := strconv.Atoi(name.Name()); err == nil && n != 1 && n != pid {
			s.must(os.Symlink(filepath.Join("/proc", name.Name()), filepath.Join(root, name.Name())))
		}
	}
	s.must(os.Symlink(fmt.Sprint("/proc/", os.Getpid()), filepath.Join(root, "1")))
	folder := filepath.Join(root, strconv.Itoa(pid))
	s.must(os.Mkdir(folder, 0o755))
	for _, name := range []string{"task", "mountinfo"} {
		s.must(os.Symlink(fmt.Sprintf("/proc/%d/%s", pid, name), filepath.Join(folder, name)))
	}
	s.must(os.WriteFile(filepath.Join(folder, "cgroup"), []byte("0::/kubepods/pod"+s.pod.UID+"/"+s.container.id+"\n"), 0o600))
	return root
}

// waiting is how many requests the kernel has no answer to.
func (s *stuckPod) waiting() int {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("%s/%d/waiting", fusectl, s.server.Connection()))
	s.must(err)
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	s.must(err)
	return n
}

// bound has the FUSE mounted at another place of the node while do is under way.
func (s *stuckPod) bound(path string, do func()) {
	s.t.Helper()
	path = s.dir(path)
	s.must(syscall.Mount(s.volume, path, "", syscall.MS_BIND, ""))
	defer func() { s.must(syscall.Unmount(path, syscall.MNT_DETACH)) }()
	do()
}

func (s *stuckPod) expectRefusal(pod, want string) {
	s.t.Helper()
	err := s.examiner.Abort(s.t.Context(), pod, s.device)
	if !errors.Is(err, stuck.ErrRefused) || !strings.Contains(err.Error(), want) {
		s.t.Errorf("%v, want a refusal with %q", err, want)
	}
	if s.waiting() == 0 {
		s.t.Fatal("nobody waits any more")
	}
}

// A process that waits for a FUSE server is found, and freed by an abort once nobody else could be hit by that.
func TestStuckInFUSE(t *testing.T) {
	s := newStuckPod(t, faultfs.Options{}, list)
	pid := s.container.cmd.Process.Pid
	got := s.examiner.Why(t.Context(), s.pod.UID)
	want := fmt.Sprintf(") waits in fuse (request_wait_answer) on %s /data", s.device)
	if !tellsWhere(t) {
		want = fmt.Sprintf(") waits in the kernel and cannot be killed (where is not told) on %s /data", s.device)
	}
	if !got.Known || !strings.HasPrefix(got.Text, fmt.Sprintf("process %d (", pid)) || !strings.HasSuffix(got.Text, want) || !slices.Equal(got.FUSE, []string{s.device}) {
		t.Fatalf("%+v, want %q", got, want)
	}

	other := newID(t)[:32]
	s.expectRefusal(other, "the pod "+s.pod.UID+" uses")
	s.bound("var/lib/kubelet/pods/"+other+"/volumes/kubernetes.io~csi/data/mount", func() { s.expectRefusal(s.pod.UID, "the pod "+other+" uses") })
	s.bound("srv/shared", func() { s.expectRefusal(s.pod.UID, "srv/shared of process 1 as well") })
	neighbour := newContainer(t, spec{Mounts: []bind{{Source: s.volume, Path: "/other", Propagation: syscall.MS_PRIVATE}}})
	id := strconv.Itoa(neighbour.cmd.Process.Pid)
	s.must(os.Symlink("/proc/"+id, filepath.Join(s.proc, id)))
	s.expectRefusal(s.pod.UID, "mounted at /other of process "+id)
	neighbour.kill()

	s.bound("var/lib/kubelet/plugins/kubernetes.io/csi/driver/hash/globalmount", func() {
		began := time.Now()
		s.must(s.examiner.Abort(t.Context(), s.pod.UID, s.device))
		var exit *exec.ExitError
		if err := s.container.cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v, want the signal of before", err)
		}
		t.Logf("freed after %s", time.Since(began))
	})
	must(t, os.RemoveAll(filepath.Join(s.proc, strconv.Itoa(pid))))
	left := s.examiner.Why(t.Context(), s.pod.UID)
	if want := "no process is left, but the volume"; !strings.HasPrefix(left.Text, want) || !strings.Contains(left.Text, "data is still mounted at "+s.volume) || left.FUSE != nil {
		t.Errorf("%+v", left)
	}
}

// The connection of a FUSE that another user has mounted is that user's to abort, whatever the agent may do.
func TestStuckInAnothersFUSE(t *testing.T) {
	s := newStuckPod(t, faultfs.Options{Owner: owner}, list)
	info, err := os.Stat(fmt.Sprintf("%s/%d/abort", fusectl, s.server.Connection()))
	s.must(err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != owner || info.Mode().Perm() != 0o200 {
		t.Fatalf("the file that aborts is of user %d with mode %s; this test shows nothing", uid, info.Mode())
	}
	s.must(s.examiner.Abort(t.Context(), s.pod.UID, s.device))
	_ = s.container.cmd.Wait() // returns, which is all that is to be shown
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if uid, err := syscall.Getuid(), os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); uid != 0 || err != nil {
		t.Errorf("user %d, and %v: this thread is somebody else", uid, err)
	}
}

// A process that execve keeps cannot be asked for its stat without waiting for it, nor where it waits; on some kernels it can. It is explained
// all the same.
func TestStuckInExec(t *testing.T) {
	s := newStuckPod(t, faultfs.Options{}, execs)
	pid := s.container.cmd.Process.Pid
	got := s.examiner.Why(t.Context(), s.pod.UID)
	want := fmt.Sprintf(") starts a program, waits for a file to be closed and cannot be killed on %s /data", s.device)
	if told := "request_wait_answer"; strings.Contains(got.Text, told) { // some kernels do tell
		want = fmt.Sprintf(") waits in fuse (%s) on %s /data", told, s.device)
	}
	if !got.Known || !strings.HasPrefix(got.Text, fmt.Sprintf("process %d (", pid)) || !strings.HasSuffix(got.Text, want) || !slices.Equal(got.FUSE, []string{s.device}) {
		t.Errorf("%+v, want %q", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := exec.CommandContext(ctx, "cat", fmt.Sprintf("/proc/%d/stat", pid)).Run(); err != nil {
		t.Logf("as Linux has it since 6.18 or so, the stat of such a process cannot be read: %v", err)
	}
	s.must(s.examiner.Abort(t.Context(), s.pod.UID, s.device))
	_ = s.container.cmd.Wait() // returns, which is all that is to be shown
}
