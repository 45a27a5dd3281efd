package lab_test

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// spec is what a container is made of. Paths are those inside of it, sources those of the test.
type spec struct {
	Root  string            // an empty folder
	Binds map[string]string // mount point -> source
	Links map[string]string // symlink -> where it points to
	Modes map[string]uint32 // folders that are made before anything is bound

	Mounts    []bind // as a runtime makes them of volumeMounts
	Processes bool   // in a process namespace of its own, which other containers may share
	UserSpace bool   // in a user namespace of its own, as with hostUsers: false
	Cgroup    string // below the root of the hierarchy, with ID for the container's id; a group of that name when empty
}

// bind is what a container runtime makes of one volumeMount.
type bind struct {
	Source, Path string
	Propagation  uintptr // MS_PRIVATE for None, MS_SLAVE for HostToContainer
	ReadOnly     bool
	File         bool // the source is no folder
}

func (b bind) mount(root string) error {
	path := filepath.Join(root, b.Path)
	if err := b.makePlace(path); err != nil {
		return err
	}
	if err := syscall.Mount(b.Source, path, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", b.Source, err)
	}
	if err := syscall.Mount("", path, "", b.Propagation|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("propagation of %s: %w", b.Path, err)
	}
	if b.ReadOnly {
		return remountReadOnly(path)
	}
	return nil
}

// makePlace makes what the source can be mounted on, without a look at a source that may be dead.
func (b bind) makePlace(path string) error {
	if !b.File {
		return os.MkdirAll(path, 0o755)
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644))
}

// remountReadOnly makes the mount refuse writes, not its file system.
func remountReadOnly(path string) error {
	return syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
}

// container is a running one.
type container struct {
	id     string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

const containerEnv = "MOUNTWARDEN_LAB_CONTAINER"

// newContainer starts a process in a mount namespace, root folder and cgroup of its own.
func newContainer(t *testing.T, s spec) *container {
	t.Helper()
	needRoot(t)
	s.Root = t.TempDir()
	if s.UserSpace {
		must(t, os.Chmod(filepath.Dir(s.Root), 0o755)) // which all temporary folders of the test are in
	}
	text, err := json.Marshal(s)
	must(t, err)
	c := &container{id: newID(t), cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), containerEnv+"="+string(text))
	c.cmd.SysProcAttr = s.namespaces()
	c.cmd.Stderr = os.Stderr
	c.stdin, err = c.cmd.StdinPipe()
	must(t, err)
	stdout, err := c.cmd.StdoutPipe()
	must(t, err)
	c.stdout = bufio.NewReader(stdout)
	cgroup := s.cgroup(t, c.id)
	must(t, c.cmd.Start())
	t.Cleanup(c.kill)
	must(t, os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(c.cmd.Process.Pid)), 0o600))
	c.answer(t)
	return c
}

// namespaces are those of a container's process. Users of a user namespace are strangers to the files of the test.
func (s spec) namespaces() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if s.Processes {
		attr.Cloneflags |= syscall.CLONE_NEWPID
	}
	if s.UserSpace {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}}
		attr.GidMappings = attr.UidMappings
		attr.GidMappingsEnableSetgroups = true
		attr.Credential = &syscall.Credential{} // root of the new namespace
	}
	return attr
}

// do lets the container's process run one of the commands of obey.
func (c *container) do(t *testing.T, words ...string) {
	t.Helper()
	_, err := fmt.Fprintln(c.stdin, strings.Join(words, " "))
	must(t, err)
	c.answer(t)
}

func (c *container) answer(t *testing.T) {
	t.Helper()
	line, err := c.stdout.ReadString('\n')
	if err != nil || line != "ok\n" {
		t.Fatalf("container: %q %v", line, err)
	}
}

// kill ends and reaps the process. It may be called again.
func (c *container) kill() {
	_ = c.cmd.Process.Kill() // gone already
	_ = c.cmd.Wait()         // was killed
}

func newID(t *testing.T) string {
	t.Helper()
	b := make([]byte, 32)
	_, err := rand.Read(b)
	must(t, err)
	return hex.EncodeToString(b)
}

func (s spec) cgroup(t *testing.T, id string) string {
	t.Helper()
	if s.Cgroup == "" {
		return newCgroup(t, id)
	}
	dir := cgroupRoot
	for name := range strings.SplitSeq(strings.ReplaceAll(s.Cgroup, "ID", id), "/") {
		dir = makeCgroup(t, filepath.Join(dir, name))
	}
	return dir
}

// makeCgroup makes one that may be there for others already.
func makeCgroup(t *testing.T, dir string) string {
	t.Helper()
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, os.ErrExist) {
		return dir
	}
	must(t, err)
	t.Cleanup(func() { eventually(t, dir+" removed", func() bool { return os.Remove(dir) == nil }) })
	return dir
}

// newCgroup makes a cgroup with the name in the first hierarchy that allows it.
func newCgroup(t *testing.T, name string) string {
	t.Helper()
	var errs []error
	for _, hierarchy := range []string{"unified", "systemd", "", "pids"} {
		dir := filepath.Join("/sys/fs/cgroup", hierarchy, name)
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "cgroup.procs")); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		t.Cleanup(func() {
			eventually(t, "cgroup removed", func() bool { return os.Remove(dir) == nil })
		})
		return dir
	}
	t.Fatalf("no cgroup hierarchy to make a container's cgroup in: %v", errors.Join(errs...))
	return ""
}

// containIfChild is the container's side.
func containIfChild() {
	if !onLeader {
		return
	}
	var s spec
	if err := json.Unmarshal([]byte(os.Getenv(containerEnv)), &s); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := s.enter(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	serve(bufio.NewScanner(os.Stdin))
}

// serve obeys each line, and ends the process with the last.
func serve(lines *bufio.Scanner) {
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if words[0] == loseLeader {
			fmt.Println("ok")
			go serve(lines)
			_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // of this thread only
		}
		if err := obey(words); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	os.Exit(0)
}

// loseLeader ends the thread that the process is named after; the others live on, and it stays as a zombie.
const loseLeader = "lose-leader"

// onLeader keeps the main goroutine of a container on that thread, which is possible only before main begins.
var onLeader = func() bool {
	inContainer := os.Getenv(containerEnv) != ""
	if inContainer {
		runtime.LockOSThread()
	}
	return inContainer
}()

// enter builds the root file system and moves into it.
func (s spec) enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts inside: %w", err)
	}
	if err := syscall.Mount("lab", s.Root, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if err := s.furnish(); err != nil {
		return err
	}
	old := filepath.Join(s.Root, "old")
	if err := os.Mkdir(old, 0o755); err != nil {
		return err
	}
	if err := syscall.PivotRoot(s.Root, old); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return syscall.Unmount("/old", syscall.MNT_DETACH)
}

func (s spec) furnish() error {
	for path, mode := range s.Modes {
		path = filepath.Join(s.Root, path)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, os.FileMode(mode))); err != nil {
			return err
		}
	}
	for path, to := range s.Links {
		path = filepath.Join(s.Root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
			return err
		}
	}
	for path, source := range s.Binds {
		path = filepath.Join(s.Root, path)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(source, path, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", source, err)
		}
	}
	for _, b := range s.Mounts {
		if err := b.mount(s.Root); err != nil {
			return err
		}
	}
	return nil
}

// staticProgram is any that needs no other file, where a container has one.
const staticProgram = "/program"

// held are the files that the container's process keeps open.
var held []*os.File

// obey runs one command inside the container.
func obey(words []string) error {
	switch words[0] {
	case "umount":
		return syscall.Unmount(words[1], syscall.MNT_DETACH)
	case "tmpfs":
		return errors.Join(os.MkdirAll(words[1], 0o755), syscall.Mount("tmpfs", words[1], "tmpfs", 0, ""))
	case "read-only":
		return remountReadOnly(words[1])
	case "write":
		return os.WriteFile(words[1], []byte("x"), 0o600)
	case "create": // and keeps it open
		f, err := os.Create(words[1])
		held = append(held, f)
		return err
	case "dirty": // what is written to the file that is open is neither synced nor closed
		_, err := held[len(held)-1].Write(make([]byte, 64<<10))
		return err
	case "list":
		_, err := os.ReadDir(words[1])
		return err
	case "exec": // with a file open that execve closes
		if _, err := syscall.Open(words[1], syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			return err
		}
		fmt.Println("ok")
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil { // until it is told to go on
			return err
		}
		return syscall.Exec(staticProgram, os.Args, os.Environ())
	case "map":
		return mapFile(words[1])
	case "epoll":
		return holdEpoll()
	case "swap":
		return swapDescriptors(words[1])
	case "become": // another user, who has no capability
		uid, err := strconv.Atoi(words[1])
		return errors.Join(err, syscall.Setuid(uid))
	case "stat": // fills the kernel's attribute cache
		_, err := os.Stat(words[1])
		return err
	default:
		return fmt.Errorf("unknown command %q", words)
	}
}
