package faultfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// Info is what stays the same for the life of a server. It is kept in a file beside
// the control socket (infoSuffix), where it can be read while the server is stopped.
type Info struct {
	PID        int    `json:"pid"`
	Mountpoint string `json:"mountpoint"`
	Connection int    `json:"connection"` // N of /sys/fs/fuse/connections/N
	// Program is the name of the program that serves in place of faultfs; it has no faults to switch.
	Program string `json:"program,omitempty"`
}

// Status is an Info and the state of the switch.
type Status struct {
	Info
	Faults map[Op]Fault `json:"faults"`
	Held   int          `json:"held"` // requests that a fault makes wait now
}

// A command sets one fault; without an operation it asks for the status, and with
// Clear it clears all. Each connection carries one command and one reply.
type command struct {
	Op    Op    `json:"op,omitempty"`
	Fault Fault `json:"fault"`
	Clear bool  `json:"clear,omitempty"`
}

type reply struct {
	Status Status `json:"status"`
	Error  string `json:"error,omitempty"`
}

const (
	infoSuffix  = ".json"
	infoMode    = 0o600
	callTimeout = 5 * time.Second
)

// control serves commands on a socket until it is closed.
type control struct {
	info     Info
	faults   *Faults
	listener *net.UnixListener
	serving  sync.WaitGroup
	ctx      context.Context // of all connections
	cancel   context.CancelFunc
}

// listen takes over the socket's path from a server that is gone: two servers never
// share one, since its folder belongs to who starts them.
func listen(socket string, info Info, faults *Faults) (*control, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("take over control socket: %w", err)
	}
	if err := writeInfo(socket, info); err != nil {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	c := &control{info: info, faults: faults, listener: listener}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.serving.Go(c.accept)
	return c, nil
}

func (c *control) close() {
	_ = c.listener.Close()
	c.cancel()
	_ = os.Remove(c.listener.Addr().String() + infoSuffix)
	c.serving.Wait()
}

func (c *control) accept() {
	for {
		conn, err := c.listener.AcceptUnix()
		if err != nil {
			return // closed
		}
		c.serving.Go(func() { c.answer(conn) })
	}
}

// answer ends within callTimeout, whatever the other side does, and when c closes.
func (c *control) answer(conn *net.UnixConn) {
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(c.ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return
	}
	var cmd command
	if err := json.NewDecoder(conn).Decode(&cmd); err != nil {
		writeReply(conn, reply{Error: err.Error()})
		return
	}
	writeReply(conn, c.execute(cmd))
}

func (c *control) execute(cmd command) reply {
	if cmd.Op != "" {
		if _, err := ParseOp(string(cmd.Op)); err != nil {
			return reply{Error: err.Error()}
		}
		c.faults.Set(cmd.Op, cmd.Fault)
	}
	if cmd.Clear {
		c.faults.Clear()
	}
	byOp, held := c.faults.Snapshot()
	return reply{Status: Status{Info: c.info, Faults: byOp, Held: held}}
}

// writeReply drops its error: the client sees the closed connection, and a server
// must live through any client.
func writeReply(conn net.Conn, r reply) {
	_ = json.NewEncoder(conn).Encode(r)
}
