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
	text, err := json.Marshal(s)
	must(t, err)
	c := &container{id: newID(t), cmd: exec.Command("/proc/self/exe")}
	c.cmd.Env = append(os.Environ(), containerEnv+"="+string(text))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	c.cmd.Stderr = os.Stderr
	c.stdin, err = c.cmd.StdinPipe()
	must(t, err)
	stdout, err := c.cmd.StdoutPipe()
	must(t, err)
	c.stdout = bufio.NewReader(stdout)
	cgroup := newCgroup(t, c.id)
	must(t, c.cmd.Start())
	t.Cleanup(c.kill)
	must(t, os.WriteFile(filepath.Join(cgroup, "cgroup.procs"), []byte(strconv.Itoa(c.cmd.Process.Pid)), 0o600))
	c.answer(t)
	return c
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
	text := os.Getenv(containerEnv)
	if text == "" {
		return
	}
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if err := s.enter(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := obey(strings.Fields(lines.Text())); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("ok")
	}
	os.Exit(0)
}

// enter builds the root file system and moves into it.
func (s spec) enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
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
	return nil
}

// obey runs one command inside the container.
func obey(words []string) error {
	switch words[0] {
	case "umount":
		return syscall.Unmount(words[1], syscall.MNT_DETACH)
	case "tmpfs":
		return errors.Join(os.MkdirAll(words[1], 0o755), syscall.Mount("tmpfs", words[1], "tmpfs", 0, ""))
	case "stat": // fills the kernel's attribute cache
		_, err := os.Stat(words[1])
		return err
	default:
		return fmt.Errorf("unknown command %q", words)
	}
}
