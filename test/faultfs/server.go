package faultfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// StartOptions are Options and how to run the server.
type StartOptions struct {
	Options
	// Command begins the server's command line, to which the flags of ServeCommand
	// are added. When empty the server is this very program, run again; it must call
	// MainIfChild first of all.
	Command []string
	// Program is the command line of another FUSE server, which stays in the foreground and mounts on
	// Mountpoint. It serves in place of faultfs; of the Options only Mountpoint and Control count then.
	Program []string
	// Log gets what the server writes to stderr, and a Program to stdout; nil drops it.
	Log io.Writer
}

// A Server is a child process that serves one mount. Its methods are the Client's,
// made surer by being its parent. The child dies with this process (SIGKILL by
// PR_SET_PDEATHSIG), which leaves the mount dead.
type Server struct {
	*Client
	info  Info
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is reaped
	dir   string        // of a control socket that Start made up

	closing sync.Mutex
	closed  bool
}

// Start mounts, and returns when the mount answers. ctx bounds the start only; the
// server lives until Close. All threads of this process must share one mount
// namespace, since any of them may start the child.
func Start(ctx context.Context, opts StartOptions) (_ *Server, err error) {
	s := &Server{ended: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(s.dir)
		}
	}()
	if opts.Control == "" {
		if s.dir, err = os.MkdirTemp("", "faultfs-"); err != nil {
			return nil, fmt.Errorf("make a folder for the control socket: %w", err)
		}
		opts.Control = filepath.Join(s.dir, "control")
	}
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s.Client = NewClient(opts.Control)
	if err := s.run(ctx, opts); err != nil {
		return nil, fmt.Errorf("start FUSE server on %q: %w", opts.Mountpoint, err)
	}
	if s.info, err = s.readInfo(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Mountpoint is where the server mounted.
func (s *Server) Mountpoint() string { return s.info.Mountpoint }

// Pid is the process id of the server.
func (s *Server) Pid() int { return s.info.PID }

// Connection is the number N of /sys/fs/fuse/connections/N, and the minor device
// number of the mount.
func (s *Server) Connection() int { return s.info.Connection }

// Ended is closed when the server process has ended and is reaped.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Kill ends the server process at once and returns when it is gone: from then on
// the mount answers ENOTCONN.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill FUSE server %d: %w", s.info.PID, err)
	}
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-s.ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("FUSE server %d does not end after SIGKILL", s.info.PID)
	}
}

// Close ends the server and its mount in whatever state they are, and frees who
// waits on them: it aborts the connection, detaches the mount, kills and reaps the
// process. It can be called again, to try again or for nothing.
//
// A Program is stopped first: one that sees its connection end may unmount whatever is on
// its mountpoint by then (rclone does). It cannot be killed first: a thread of it that waits
// on its own mount would not end before the connection does.
func (s *Server) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil // a second unmount could hit the mount of a later server
	}
	err := errors.Join(s.stopProgram(), s.unmount(), s.Kill(), os.RemoveAll(s.dir))
	s.closed = err == nil
	return err
}

func (s *Server) stopProgram() error {
	if s.info.Program == "" {
		return nil
	}
	if err := s.cmd.Process.Signal(unix.SIGSTOP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop FUSE server %d: %w", s.info.PID, err)
	}
	return nil
}

// unmount leaves alone what someone else mounted there since.
func (s *Server) unmount() error {
	connection, err := ConnectionAt(s.info.Mountpoint)
	switch {
	case errors.Is(err, ErrNotMounted):
		return nil
	case err != nil:
		return err
	case connection != s.info.Connection:
		return nil
	}
	return detachConnection(s.info.Mountpoint, connection)
}

// run starts the process and its reaper, and waits until it is ready.
func (s *Server) run(ctx context.Context, opts StartOptions) error {
	stdout, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = stdout.Close() }()
	var tail tailBuffer
	s.cmd = serverCommand(context.WithoutCancel(ctx), opts, theirs, &tail) // it lives until Close

	started := make(chan error, 1)
	go s.startAndReap(started)
	err = <-started
	_ = theirs.Close()
	if err != nil {
		return err
	}
	stopKill := context.AfterFunc(ctx, func() { _ = s.cmd.Process.Kill() })
	defer stopKill()
	if len(opts.Program) > 0 {
		err = s.awaitMount(opts)
	} else {
		err = awaitReadyLine(stdout)
	}
	if err == nil {
		return nil
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	return errors.Join(fmt.Errorf("%w; it said %q", err, tail.String()), ctx.Err())
}

func awaitReadyLine(stdout io.Reader) error {
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil && line == readyLine+"\n" {
		return nil
	}
	return fmt.Errorf("it is not ready but wrote %q", line)
}

// startAndReap keeps its thread for as long as the child lives: the kernel sends
// the parent-death signal when the parent's *thread* ends (PR_SET_PDEATHSIG(2const)).
func (s *Server) startAndReap(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.ended)
	err := s.cmd.Start()
	started <- err
	if err == nil {
		_ = s.cmd.Wait() // how it ended is of no interest: tests kill it
	}
}

func serverCommand(ctx context.Context, opts StartOptions, stdout *os.File, tail *tailBuffer) *exec.Cmd {
	argv, env := opts.Command, os.Environ()
	if len(argv) == 0 {
		argv, env = []string{"/proc/self/exe"}, append(env, childEnv+"=1")
	}
	args := slices.Concat(argv[1:], opts.args())
	if len(opts.Program) > 0 {
		args = slices.Concat(argv[1:], []string{"--mountpoint=" + opts.Mountpoint, "--control=" + opts.Control, "--"}, opts.Program)
	}
	cmd := exec.CommandContext(ctx, argv[0], args...)
	cmd.Env = env
	cmd.Stdout = stdout
	cmd.Stderr = tail
	if opts.Log != nil {
		cmd.Stderr = io.MultiWriter(tail, opts.Log)
	}
	if len(opts.Program) > 0 {
		cmd.Stdout = cmd.Stderr // nobody reads the pipe, which would fill up
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	return cmd
}
