package faultfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// mountPoll is how often Start looks for the mount of a program.
const mountPoll = 10 * time.Millisecond

// cutProgram cuts the arguments of ServeCommand at the first "--", behind which a program's command
// line stands.
func cutProgram(args []string) (flags, program []string) {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i], args[i+1:]
	}
	return args, nil
}

// becomeProgram turns this process into another FUSE server, which thereby is the process behind
// the control socket: the kernel names the process that called listen(2) (SO_PEERCRED, unix(7)),
// and execve(2) keeps that process and its open descriptors. Nobody accepts connections any more,
// so a Client can signal the program and cannot switch faults.
func becomeProgram(control string, argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("become the FUSE server %q: %w", argv[0], err)
	}
	if err := listenForever(control); err != nil {
		return err
	}
	// The parent set its death signal for the first thread of this process; a new thread has none
	// (copy_process() of the kernel), and execve keeps that of the thread which calls it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with the parent: %w", err)
	}
	if err := unix.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("become the FUSE server %q: %w", path, err)
	}
	return nil
}

// listenForever listens on a socket that stays open in whatever program this process becomes.
func listenForever(socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take over control socket: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("make the control socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return fmt.Errorf("bind the control socket %q: %w", socket, err)
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return fmt.Errorf("listen on the control socket %q: %w", socket, err)
	}
	return nil
}

// awaitMount waits until the program has mounted or has ended, and writes down what a Client needs
// to know. A program cannot say that it is ready, but its mount shows.
func (s *Server) awaitMount(opts StartOptions) error {
	poll := time.NewTicker(mountPoll)
	defer poll.Stop()
	for {
		connection, err := ConnectionAt(opts.Mountpoint)
		switch {
		case err == nil:
			return writeInfo(opts.Control, Info{
				PID: s.cmd.Process.Pid, Mountpoint: opts.Mountpoint, Connection: connection, Program: opts.Program[0],
			})
		case !errors.Is(err, ErrNotMounted):
			return err
		}
		select {
		case <-s.ended:
			return errors.New("it ended before it mounted")
		case <-poll.C:
		}
	}
}

func writeInfo(socket string, info Info) error {
	text, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode server info: %w", err)
	}
	if err := os.WriteFile(socket+infoSuffix, text, infoMode); err != nil {
		return fmt.Errorf("write server info: %w", err)
	}
	return nil
}
