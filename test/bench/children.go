package main

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
	"syscall"

	"github.com/mountwarden/mountwarden/test/rawfuse"
)

// taskEnv holds what a child has to do, as JSON.
const taskEnv = "MOUNTWARDEN_BENCH_TASK"

// child is one of this program's children. It lives until its standard input ends.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
}

// start starts a child in a role. It is ready when it has said so.
func start(role string, task any, attr *syscall.SysProcAttr) (*child, error) {
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // it is ended by its standard input, or a signal that is measured
	cmd.Env = append(os.Environ(), roleEnv+"="+role, taskEnv+"="+string(text))
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &child{cmd, stdin, bufio.NewReader(stdout)}, nil
}

// ready waits until the child is.
func (c *child) ready() error {
	line, err := c.stdout.ReadString('\n')
	if err != nil || line != "ready\n" {
		return fmt.Errorf("child said %q: %w", line, errors.Join(err, c.cmd.Wait()))
	}
	return nil
}

// kill ends the child at once.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // gone already
	_ = c.cmd.Wait()         // was killed
}

// serveUntilEnd says that the child is ready and waits for the end of its standard input.
func serveUntilEnd() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func task(into any) error {
	if err := json.Unmarshal([]byte(os.Getenv(taskEnv)), into); err != nil {
		return fmt.Errorf("read %s: %w", taskEnv, err)
	}
	return nil
}

// daemonTask is which mounts a daemon serves.
type daemonTask struct {
	Dirs   []string
	Silent bool // never answers
}

// daemonRole serves FUSE mounts.
func daemonRole() error {
	var t daemonTask
	if err := task(&t); err != nil {
		return err
	}
	say := rawfuse.Honest
	if t.Silent {
		say = rawfuse.Silent
	}
	for _, dir := range t.Dirs {
		if _, err := rawfuse.Mount(dir, say); err != nil {
			return err
		}
	}
	return serveUntilEnd()
}

// containerTask is what a container has mounted: mount point to source.
type containerTask struct {
	Root  string
	Binds map[string]string
}

// containerRole is the process of a container.
func containerRole() error {
	var t containerTask
	if err := task(&t); err != nil {
		return err
	}
	if err := t.enter(); err != nil {
		return fmt.Errorf("enter the container: %w", err)
	}
	return serveUntilEnd()
}

// enter furnishes a root file system as a runtime does, and moves into it.
func (t containerTask) enter() error {
	if err := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("root", t.Root, "tmpfs", 0, "")); err != nil {
		return err
	}
	for _, dir := range []string{"proc", "dev", "dev/shm", "dev/mqueue", "sys", "etc/hosts", "etc/hostname", "var/run/secrets"} {
		path := filepath.Join(t.Root, dir)
		if err := errors.Join(os.MkdirAll(path, 0o755), syscall.Mount("tmpfs", path, "tmpfs", 0, "size=64k")); err != nil {
			return err
		}
	}
	for point, source := range t.Binds {
		path := filepath.Join(t.Root, point)
		if err := errors.Join(os.MkdirAll(path, 0o755), syscall.Mount(source, path, "", syscall.MS_BIND, "")); err != nil {
			return err
		}
	}
	old := filepath.Join(t.Root, "old")
	if err := errors.Join(os.Mkdir(old, 0o755), syscall.PivotRoot(t.Root, old), os.Chdir("/")); err != nil {
		return err
	}
	return syscall.Unmount("/old", syscall.MNT_DETACH)
}

// container is one that runs.
type container struct {
	*child
	id string
}

// startContainer starts a container; await it before use.
func startContainer(group string, t containerTask) (*container, error) {
	if err := os.MkdirAll(t.Root, 0o755); err != nil {
		return nil, err
	}
	c, err := start("container", t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	if err != nil {
		return nil, err
	}
	id := make([]byte, 32)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	name := hex.EncodeToString(id)
	return &container{c, name}, joinContainer(c.cmd.Process.Pid, group, name)
}
