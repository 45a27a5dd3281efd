package faultfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// signal reaches the process behind the control socket and no other, even when
// process ids are reused: the socket names the process, the pidfd pins it, and a
// connection that is still open afterwards proves that it had not ended before.
func (c *Client) signal(sig unix.Signal) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	pid, err := peerPID(conn)
	if err != nil {
		return fmt.Errorf("find the FUSE server: %w", err)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: no process %d", ErrServerGone, pid)
	}
	if err != nil {
		return fmt.Errorf("open FUSE server %d: %w", pid, err)
	}
	defer unix.Close(pidfd)
	if err := checkOpen(conn); err != nil {
		return err
	}
	if err := unix.PidfdSendSignal(pidfd, sig, nil, 0); err != nil {
		return fmt.Errorf("send %v to FUSE server %d: %w", sig, pid, err)
	}
	if sig == unix.SIGSTOP {
		return awaitStopped(pid)
	}
	return nil
}

// peerPID gives the process that listens at the other end, as seen from here.
func peerPID(conn *net.UnixConn) (pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var optErr error
	err = raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, optErr); err != nil {
		return 0, err
	}
	if cred.Pid <= 0 {
		return 0, errors.New("it lives in a pid namespace that is not visible from here: run this in the server's container")
	}
	return int(cred.Pid), nil
}

// checkOpen fails with ErrServerGone when the other end has closed.
func checkOpen(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var fds [1]unix.PollFd
	var pollErr error
	err = raw.Control(func(fd uintptr) {
		fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		_, pollErr = unix.Poll(fds[:], 0)
	})
	if err = errors.Join(err, pollErr); err != nil {
		return fmt.Errorf("check the FUSE server: %w", err)
	}
	if fds[0].Revents != 0 {
		return fmt.Errorf("%w: it ended just now", ErrServerGone)
	}
	return nil
}

// awaitStopped waits until no thread of the process runs any more: SIGSTOP takes
// effect thread by thread.
func awaitStopped(pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stopped, err := allStopped(pid)
		if err != nil || stopped {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("FUSE server %d does not stop: %w", pid, ctx.Err())
		case <-tick.C:
		}
	}
}

func allStopped(pid int) (bool, error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // that thread ended
		}
		if err != nil {
			return false, fmt.Errorf("read the state of a thread: %w", err)
		}
		// The state follows the name, which may hold anything (proc_pid_stat(5)).
		if end := strings.LastIndex(string(text), ") "); end < 0 || text[end+2] != 'T' {
			return false, nil
		}
	}
	if len(stats) == 0 {
		return false, fmt.Errorf("%w: no process %d", ErrServerGone, pid)
	}
	return true, nil
}
