package faultfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrServerGone is wrapped by errors of commands to a server that does not live any
// more. Its mount, if there is one, is dead.
var ErrServerGone = errors.New("the FUSE server is gone")

// A Client switches the faults of the server behind a control socket. It need not
// be the server's parent. Its methods end within seconds; only Status, Set and Clear
// need a server that runs.
type Client struct {
	socket string
}

// NewClient gives the client of the server that listens, or listened, on socket.
func NewClient(socket string) *Client { return &Client{socket: socket} }

// Socket is the path of the control socket.
func (c *Client) Socket() string { return c.socket }

// Set gives op a fault; the zero Fault takes it away.
func (c *Client) Set(op Op, fault Fault) error {
	_, err := c.call(command{Op: op, Fault: fault})
	return err
}

// Hang makes requests of the kind op wait, after the server has read them.
func (c *Client) Hang(op Op) error { return c.Set(op, Hang()) }

// Error makes requests of the kind op fail with errno.
func (c *Client) Error(op Op, errno syscall.Errno) error { return c.Set(op, Fail(errno)) }

// Slow makes requests of the kind op take d longer.
func (c *Client) Slow(op Op, d time.Duration) error { return c.Set(op, Slow(d)) }

// Clear ends all of Hang, Error and Slow, also for requests that wait.
func (c *Client) Clear() error {
	_, err := c.call(command{Clear: true})
	return err
}

// Status asks the server for its faults and how many requests they hold.
func (c *Client) Status() (Status, error) { return c.call(command{}) }

// Alive tells whether the server's process lives; stopped or hung it does. The answer
// is the kernel's, so it does not wait for the server.
func (c *Client) Alive() bool {
	conn, err := c.dial()
	if err == nil {
		_ = conn.Close()
	}
	return !errors.Is(err, ErrServerGone)
}

// Kill ends the server at once (SIGKILL), and returns when it is dead and its mount
// too. A server that is gone is fine.
func (c *Client) Kill() error {
	err := c.signal(unix.SIGKILL, "end", (*process).ended)
	if errors.Is(err, ErrServerGone) {
		return nil
	}
	return err
}

// Stop makes the server read no more requests (SIGSTOP), and returns once it is so.
func (c *Client) Stop() error { return c.signal(unix.SIGSTOP, "stop", (*process).stopped) }

// Continue ends Stop.
func (c *Client) Continue() error {
	return c.signal(unix.SIGCONT, "go on", func(*process) (bool, error) { return true, nil })
}

func (c *Client) signal(sig unix.Signal, what string, done func(*process) (bool, error)) error {
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.send(sig); err != nil {
		return err
	}
	return p.await(what, func() (bool, error) { return done(p) })
}

// Abort ends the FUSE connection: waiting requests fail with ECONNABORTED, later ones
// with ENOTCONN. The mount stays, dead, and the server ends, unless it is stopped.
func (c *Client) Abort() error {
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.close()
	info, err := c.mountedInfo()
	if err != nil {
		return err
	}
	if err := abort(info.Connection); err != nil {
		return err
	}
	if stopped, err := p.stopped(); err != nil || stopped {
		return err
	}
	_ = c.Clear() // what it held has failed; it must let go to end, and may have ended
	return p.await("end", p.endedOrStopped)
}

// Waiting gives the number of requests that the kernel has no answer to, read or
// not. It needs no running server.
func (c *Client) Waiting() (int, error) {
	info, err := c.mountedInfo()
	if err != nil {
		return 0, err
	}
	return waiting(info.Connection)
}

// mountedInfo reads the info of a server whose mount is in place: the connection
// number of another may belong to a stranger already.
func (c *Client) mountedInfo() (Info, error) {
	info, err := c.readInfo()
	if err != nil {
		return Info{}, err
	}
	if n, err := ConnectionAt(info.Mountpoint); err != nil || n != info.Connection {
		return Info{}, errors.Join(fmt.Errorf("%w of connection %d at %q", ErrNotMounted, info.Connection, info.Mountpoint), err)
	}
	return info, nil
}

// readInfo gives what the last server on the socket wrote down, dead or alive.
func (c *Client) readInfo() (info Info, err error) {
	text, err := os.ReadFile(c.socket + infoSuffix)
	if err != nil {
		return info, fmt.Errorf("read server info: %w", err)
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("read server info %q: %w", c.socket+infoSuffix, err)
	}
	return info, nil
}

func (c *Client) call(cmd command) (Status, error) {
	if info, err := c.readInfo(); err == nil && info.Program != "" {
		return Status{}, fmt.Errorf("fault of %s %w: use stop, cont, kill or abort", info.Program, ErrUsage)
	}
	conn, err := c.dial()
	if err != nil {
		return Status{}, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return Status{}, fmt.Errorf("talk to FUSE server: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(cmd); err != nil {
		return Status{}, hungUp(fmt.Errorf("talk to FUSE server: %w", err))
	}
	var r reply
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return Status{}, hungUp(fmt.Errorf("hear from FUSE server (is it stopped?): %w", err))
	}
	if r.Error != "" {
		return r.Status, fmt.Errorf("%w by FUSE server: %s", ErrUsage, r.Error)
	}
	return r.Status, nil
}

// hungUp makes ErrServerGone of what a connection says whose other end has ended.
func hungUp(err error) error {
	for _, end := range []error{io.EOF, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, end) {
			return fmt.Errorf("%w: %w", ErrServerGone, err)
		}
	}
	return err
}

// dial succeeds for a stopped server too: the kernel queues the connection.
func (c *Client) dial() (*net.UnixConn, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: c.socket, Net: "unix"})
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrServerGone, err)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to FUSE server: %w", err)
	}
	return conn, nil
}
