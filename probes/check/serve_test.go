package check_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

const workerEnv = "CHECK_TEST_WORKER"

// The worker drops the privileges of its whole process, so it runs in one of its own.
func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := check.Serve(check.Socket, check.Memory, true); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type testWorker struct {
	cmd  *exec.Cmd
	conn *net.UnixConn
	proc int // of this process

	page *check.ProgressPage
}

func startWorker(t *testing.T) *testWorker {
	t.Helper()
	ours, theirs, err := sys.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	child, parent := os.NewFile(uintptr(theirs), "child"), os.NewFile(uintptr(ours), "parent")
	conn, err := net.FileConn(parent)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sys.SharedMemory("test", check.ProgressPageSize)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := sys.Map(fd, check.ProgressPageSize)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "memory")
	w := &testWorker{conn: conn.(*net.UnixConn), cmd: exec.Command("/proc/self/exe"), page: check.ProgressPageAt(mem)}
	w.cmd.Env = append(os.Environ(), workerEnv+"=1", "GODEBUG=containermaxprocs=0")
	w.cmd.ExtraFiles = []*os.File{child, memory}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(parent.Close(), child.Close(), memory.Close()); err != nil {
		t.Fatal(err)
	}
	w.proc, err = sys.OpenDir("/proc/self/") // the slash: the directory, not the link
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()         // closed by the test, perhaps
		_ = w.cmd.Process.Kill() // ended, usually
		_ = w.cmd.Wait()
		sys.Close(w.proc)
		sys.Unmap(mem)
	})
	if hello := w.receive(t); hello.Kind != check.KindHello {
		t.Fatalf("the first message is no hello: %+v", hello)
	}
	return w
}

func (w *testWorker) receive(t *testing.T) check.Message {
	t.Helper()
	if err := w.conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, check.MessageSize+1)
	n, err := w.conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m, err := check.DecodeMessage(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *testWorker) send(t *testing.T, msg []byte, fds ...int) {
	t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = sys.Rights(fds...)
	}
	if _, _, err := w.conn.WriteMsgUnix(msg, rights, nil); err != nil {
		t.Fatal(err)
	}
}

// batch returns the answers, after which the worker holds no descriptor more than before.
func (w *testWorker) probeBatch(t *testing.T, targets []int, batch ...check.Request) (answers []check.Answer) {
	t.Helper()
	w.page.Reset()
	w.send(t, check.EncodeBatch(batch), targets...)
	if m := w.receive(t); m.Kind != check.KindDone {
		t.Fatalf("not done: %+v", m)
	}
	if at, err := w.page.Progress(); err != nil || at.Item != len(batch) {
		t.Fatalf("of %d items: %+v, %v", len(batch), at, err)
	}
	for i := range batch {
		a, err := w.page.Answer(i)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers
}

func (w *testWorker) probe(t *testing.T, r check.Request) check.Answer {
	t.Helper()
	return w.probeBatch(t, []int{w.proc}, r)[0]
}

func TestProbe(t *testing.T) {
	w := startWorker(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	root := w.probe(t, check.Request{Path: "/proc"})
	if root.Errno != 0 || root.Stage != check.StageIdentify || root.MountID == 0 || !root.MountRoot {
		t.Errorf("resolve /proc: %+v", root)
	}
	inside := w.probe(t, check.Request{Path: "/proc/self"})
	if inside.MountID != root.MountID || inside.MountRoot {
		t.Errorf("resolve /proc/self: %+v", inside)
	}
	good := w.probe(t, check.Request{Path: "/proc", MountID: root.MountID})
	if good.Errno != 0 || good.Stage != check.StageStatx || good.Mismatch {
		t.Errorf("probe of /proc: %+v", good)
	}
	other := w.probe(t, check.Request{Path: file, MountID: root.MountID})
	if !other.Mismatch || other.Stage != check.StageIdentify {
		t.Errorf("a file on another mount was touched: %+v", other)
	}
	none := w.probe(t, check.Request{Path: file + "/none", MountID: 1})
	if none.Errno != syscall.ENOTDIR || none.Stage != check.StageOpen {
		t.Errorf("no such path: %+v", none)
	}
	magic := w.probe(t, check.Request{Path: "/proc/self/cwd"})
	if magic.Errno != syscall.ELOOP || magic.Stage != check.StageOpen {
		t.Errorf("a magic link was followed: %+v", magic)
	}
	long := w.probe(t, check.Request{Path: "/\x00"})
	if long.Errno != syscall.EINVAL {
		t.Errorf("a path with a zero byte: %+v", long)
	}
}

func TestTargetIsGone(t *testing.T) {
	w := startWorker(t)
	sleeper := exec.Command("/bin/sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	proc, err := sys.OpenDir(fmt.Sprintf("/proc/%d", sleeper.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close(proc)
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait() // killed
	seen := w.probeBatch(t, []int{proc, w.proc}, check.Request{Path: "/", MountID: 1}, check.Request{Path: "/"}, check.Request{Path: "/proc", Target: 1})
	for _, a := range seen[:2] {
		if a.Stage != check.StageRoot || (a.Errno != syscall.ESRCH && a.Errno != syscall.ENOENT) {
			t.Errorf("a dead target: %+v", a)
		}
	}
	if a := seen[2]; a.Stage != check.StageIdentify || a.Errno != 0 || !a.MountRoot {
		t.Errorf("the other target of the batch: %+v", a)
	}
}

// Every descriptor is closed before the answer.
func TestNoDescriptorIsLeft(t *testing.T) {
	w := startWorker(t)
	root := w.probe(t, check.Request{Path: "/proc"})
	w.probeBatch(t, []int{w.proc}, check.Request{Path: "/proc"}, check.Request{Path: "/proc", MountID: root.MountID}, check.Request{Path: "/none"},
		check.Request{Path: "/", MountID: 1}, check.Request{Path: "/proc", MountID: root.MountID, CanaryFile: "stat", CanaryDirectory: "sys"})
	w.requireNoOpenFiles(t)
}

// requireNoOpenFiles requires that an idle worker has no file open but /dev/null.
func (w *testWorker) requireNoOpenFiles(t *testing.T) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(to, "/") && to != os.DevNull {
			t.Errorf("the worker holds %s", to)
		}
	}
}

func TestWorkerEndsWithItsAgent(t *testing.T) {
	w := startWorker(t)
	if err := w.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the end of the agent is no error: %v", err)
	}
}

func TestWorkerRefusesNonsense(t *testing.T) {
	request := check.EncodeBatch([]check.Request{{Path: "/"}})
	for name, send := range map[string]func(*testWorker){
		"garbage":       func(w *testWorker) { w.send(t, []byte("garbage"), w.proc) },
		"no descriptor": func(w *testWorker) { w.send(t, request) },
		"no such target": func(w *testWorker) {
			w.send(t, check.EncodeBatch([]check.Request{{Path: "/"}, {Path: "/", Target: 2}}), w.proc, w.proc)
		},
		"too many targets":    func(w *testWorker) { w.send(t, request, slices.Repeat([]int{w.proc}, check.MaxTargets+1)...) },
		"longer than allowed": func(w *testWorker) { w.send(t, make([]byte, check.MaxBatch+1), w.proc) },
	} {
		t.Run(name, func(t *testing.T) {
			w := startWorker(t)
			send(w)
			if _, err := w.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("want the end of the worker, got %v", err)
			}
			if err := w.cmd.Wait(); err == nil {
				t.Error("the worker ended as if nothing were wrong")
			}
		})
	}
}
