package events

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// roleEnv selects what the test binary does: "inside" runs the tests in their own mount namespace,
// "container" runs the commands that it reads.
const roleEnv = "MOUNTWARDEN_EVENTS_ROLE"

// patience bounds waits that end at once on an idle machine.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); {
	case role == "container":
		runContainer()
	case role == "" && os.Geteuid() == 0:
		os.Exit(runInside())
	default:
		goleak.VerifyTestMain(m)
	}
}

// runInside runs the tests in their own mount namespace: their mounts are invisible to the machine,
// and vanish with them.
func runInside() int {
	runtime.LockOSThread() // the parent-death signal is the thread's
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), roleEnv+"=inside")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// runContainer is a process in its own mount namespace that runs one command a line.
func runContainer() {
	report := func(err error) {
		if err == nil {
			err = errors.New("ok")
		}
		if _, err := fmt.Fprintln(os.Stdout, err); err != nil {
			os.Exit(1)
		}
	}
	report(nil)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		report(runCommand(strings.Fields(lines.Text())))
	}
	os.Exit(0)
}

// fuseConnection is the connection of the container's FUSE.
var fuseConnection *os.File

func runCommand(words []string) error {
	switch words[0] {
	case "stat":
		_, err := os.Stat(words[1])
		return err
	case "tmpfs":
		return syscall.Mount("none", words[1], "tmpfs", 0, "")
	case "mount":
		return syscall.Mount(words[1], words[2], "ext4", 0, "")
	case "readonly":
		return syscall.Mount("", words[1], "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
	case "umount":
		return syscall.Unmount(words[1], syscall.MNT_DETACH)
	case "fuse": // a connection that nobody answers
		fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fuseConnection = os.NewFile(uintptr(fd), "/dev/fuse")
		return syscall.Mount("none", words[1], "fuse.events", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	case "become": // a user without capabilities
		return syscall.Setuid(65534)
	case "handover": // cat holds the connection until the container's input ends; it runs no command
		other := exec.Command("cat")
		other.Stdin, other.ExtraFiles = os.Stdin, []*os.File{fuseConnection}
		return other.Start()
	case "churn":
		for end := time.Now().Add(time.Second); time.Now().Before(end); {
			if err := errors.Join(runCommand([]string{"tmpfs", words[1]}), runCommand([]string{"umount", words[1]})); err != nil {
				return err
			}
		}
		return nil
	case "write": // and leave it dirty
		return os.WriteFile(words[1], make([]byte, 1<<20), 0o600)
	default:
		return fmt.Errorf("unknown command %q", words)
	}
}

// container is a process in its own mount namespace.
type container struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	held   *proc.Process
}

func newContainer(t *testing.T) *container {
	t.Helper()
	needRoot(t)
	c := &container{t: t, cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), roleEnv+"=container")
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // Go makes / private then
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	must(t, err)
	stdout, err := c.cmd.StdoutPipe()
	must(t, err)
	c.stdout = bufio.NewReader(stdout)
	must(t, c.cmd.Start())
	t.Cleanup(c.kill)
	c.expectOK()
	c.held, err = proc.Hold("/proc", c.cmd.Process.Pid)
	must(t, err)
	t.Cleanup(c.held.Release)
	return c
}

func (c *container) do(words ...string) {
	c.t.Helper()
	_, err := fmt.Fprintln(c.stdin, strings.Join(words, " "))
	must(c.t, err)
	c.expectOK()
}

func (c *container) expectOK() {
	c.t.Helper()
	if line, err := c.stdout.ReadString('\n'); err != nil || line != "ok\n" {
		c.t.Fatalf("container: %q %v", line, err)
	}
}

// kill ends and reaps the process. It may be called again.
func (c *container) kill() {
	_ = c.cmd.Process.Kill() // gone already
	_ = c.cmd.Wait()         // was killed
}

// watchTarget is the container as an argument of Watch.
func (c *container) watchTarget(devices ...FileSystem) []WatchTarget {
	return []WatchTarget{{Process: c.held, FileSystems: devices}}
}

// device returns the file system at the container's mount point.
func (c *container) device(point string) FileSystem {
	c.t.Helper()
	text, err := c.held.Read("mountinfo")
	must(c.t, err)
	table, err := mountinfo.Read(strings.NewReader(text), nil)
	must(c.t, err)
	m, ok := table.At(point)
	if !ok {
		c.t.Fatalf("nothing is mounted at %s", point)
	}
	return FileSystem{Device: m.Device, FSType: m.FSType}
}

// watchMethod is a way to watch a mount table.
type watchMethod struct {
	name     string
	closer   string
	fanotify bool
}

func watchMethods() []watchMethod {
	return []watchMethod{{name: "fanotify", fanotify: true}, {name: "mountinfo"}, {name: "mountinfo with a closer", closer: "/bin/cat"}}
}

func newWatcher(t *testing.T, method watchMethod) *Watcher {
	t.Helper()
	needRoot(t)
	w := New(Options{Closer: method.closer})
	t.Cleanup(w.Close)
	if method.fanotify && !w.fanotify.Available {
		t.Skip(w.fanotify.Detail)
	}
	w.fanotify.Available = method.fanotify
	return w
}

func expectEvent(t *testing.T, w *Watcher, pod string, trigger probes.Trigger) {
	t.Helper()
	select {
	case e := <-w.Events():
		if e != (Event{Pod: pod, Trigger: trigger}) {
			t.Fatalf("got %+v, want %s of %s", e, trigger, pod)
		}
	case <-time.After(patience):
		t.Fatalf("no event, want %s of %s", trigger, pod)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts file systems: needs root")
	}
}

// disk is an ext4 file system on a loop device.
type disk struct {
	t            *testing.T
	image, block string
}

func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{t: t, image: filepath.Join(dir, "image")}
	must(t, os.WriteFile(d.image, nil, 0o600))
	must(t, os.Truncate(d.image, 16<<20))
	d.attachLoop()
	t.Cleanup(func() { _ = exec.Command("losetup", "-d", d.block).Run() }) // detached already
	run(t, "mkfs.ext4", "-q", d.block)
	return d
}

func (d *disk) attachLoop() {
	d.t.Helper()
	d.block = run(d.t, "losetup", "--find", "--show", d.image)
}

// mount mounts the disk here, in the namespace of the tests.
func (d *disk) mount(point string) {
	d.t.Helper()
	must(d.t, syscall.Mount(d.block, point, "ext4", 0, ""))
	d.t.Cleanup(func() { _ = syscall.Unmount(point, syscall.MNT_DETACH) }) // unmounted already
}

// sysfsDir is the kernel's directory of the mounted file system.
func (d *disk) sysfsDir() string { return filepath.Join("/sys/fs/ext4", filepath.Base(d.block)) }

func (d *disk) triggerError() {
	d.t.Helper()
	must(d.t, os.WriteFile(filepath.Join(d.sysfsDir(), "trigger_fs_error"), []byte("test"), 0o600))
}

// expectFree waits until no file system is on the device, and detaches it.
func (d *disk) expectFree() {
	d.t.Helper()
	eventually(d.t, "the super block is gone", func() bool {
		_, err := os.Stat(d.sysfsDir())
		return errors.Is(err, os.ErrNotExist)
	})
	run(d.t, "losetup", "-d", d.block)
	eventually(d.t, "the device is free", func() bool {
		return run(d.t, "losetup", "--list", "--noheadings", "--associated", d.image) == ""
	})
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
