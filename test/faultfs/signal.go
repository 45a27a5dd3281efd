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

// A process is a pinned server: signals reach it and no other, even when process ids
// are reused. The socket names the process, the pidfd pins it, and a connection that
// is still open afterwards proves that it had not ended before.
type process struct {
	conn  *net.UnixConn
	pid   int
	pidfd int
}

func (c *Client) open() (_ *process, err error) {
	conn, err := c.dial()
	if err != nil {
		return nil, err
	}
	p := &process{conn: conn, pidfd: -1}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.pid, err = peerPID(conn); err != nil {
		return nil, fmt.Errorf("find the FUSE server: %w", err)
	}
	p.pidfd, err = unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, fmt.Errorf("%w: no process %d", ErrServerGone, p.pid)
	}
	if err != nil {
		return nil, fmt.Errorf("open FUSE server %d: %w", p.pid, err)
	}
	return p, checkOpen(conn)
}

func (p *process) close() {
	_ = p.conn.Close()
	if p.pidfd >= 0 {
		_ = unix.Close(p.pidfd)
	}
}

func (p *process) send(sig unix.Signal) error {
	err := unix.PidfdSendSignal(p.pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: process %d ended", ErrServerGone, p.pid)
	}
	if err != nil {
		return fmt.Errorf("send %v to FUSE server %d: %w", sig, p.pid, err)
	}
	return nil
}

// await waits until the process is as it should be.
func (p *process) await(what string, cond func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := cond()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("FUSE server %d does not %s: %w", p.pid, what, ctx.Err())
		case <-tick.C:
		}
	}
}

// ended tells whether the process is dead, reaped or not. Its files are closed then,
// and so its FUSE connection is over (pidfd_open(2), do_exit of the kernel).
func (p *process) ended() (bool, error) { return isReadable(p.pidfd) }

// stopped tells whether no thread of the process runs any more: SIGSTOP takes effect
// thread by thread.
func (p *process) stopped() (bool, error) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
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
	return len(stats) > 0, nil
}

func (p *process) endedOrStopped() (bool, error) {
	ended, err := p.ended()
	if err != nil || ended {
		return ended, err
	}
	return p.stopped()
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
	if err := errors.Join(err, optErr); err != nil {
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
	var closed bool
	var pollErr error
	err = raw.Control(func(fd uintptr) { closed, pollErr = isReadable(int(fd)) })
	if err := errors.Join(err, pollErr); err != nil {
		return fmt.Errorf("check the FUSE server: %w", err)
	}
	if closed {
		return fmt.Errorf("%w: it ended just now", ErrServerGone)
	}
	return nil
}

func isReadable(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return fds[0].Revents != 0, err
		}
	}
}
