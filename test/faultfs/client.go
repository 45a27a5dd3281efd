package faultfs

import (
	"encoding/json"
	"errors"
	"fmt"
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

// Kill ends the server at once (SIGKILL), which leaves its mount dead. It does not
// wait for the end; a server that is gone is fine.
func (c *Client) Kill() error {
	err := c.signal(unix.SIGKILL)
	if errors.Is(err, ErrServerGone) {
		return nil
	}
	return err
}

// Stop makes the server read no more requests (SIGSTOP), and returns once it is so.
func (c *Client) Stop() error { return c.signal(unix.SIGSTOP) }

// Continue ends Stop.
func (c *Client) Continue() error { return c.signal(unix.SIGCONT) }

// Abort ends the FUSE connection while its server lives: waiting requests fail with
// ECONNABORTED, later ones with ENOTCONN. The mount stays, dead.
func (c *Client) Abort() error {
	info, err := c.infoOfLiving()
	if err != nil {
		return err
	}
	return abort(info.Connection)
}

// Waiting gives the number of requests that the kernel has no answer to, read or
// not. It needs no running server.
func (c *Client) Waiting() (int, error) {
	info, err := c.infoOfLiving()
	if err != nil {
		return 0, err
	}
	return waiting(info.Connection)
}

// infoOfLiving reads the info of a server that lives. A dead one's connection number
// may belong to a stranger already.
func (c *Client) infoOfLiving() (Info, error) {
	conn, err := c.dial()
	if err != nil {
		return Info{}, err
	}
	defer conn.Close()
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
	conn, err := c.dial()
	if err != nil {
		return Status{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return Status{}, fmt.Errorf("talk to FUSE server: %w", err)
	}
	if err := json.NewEncoder(conn).Encode(cmd); err != nil {
		return Status{}, fmt.Errorf("talk to FUSE server: %w", err)
	}
	var r reply
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return Status{}, fmt.Errorf("hear from FUSE server (is it stopped?): %w", err)
	}
	if r.Error != "" {
		return r.Status, fmt.Errorf("%w by FUSE server: %s", ErrUsage, r.Error)
	}
	return r.Status, nil
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
