package httpserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Buffers in the kernel count for the memory limit of the container ("sock" in memory.stat of cgroup
// v2). That of what is to be sent may grow to 4 MiB for a client that does not read (tcp_wmem in
// tcp(7)), unless it is set. The kernel doubles the values for its own needs (SO_SNDBUF in socket(7)).
const (
	receiveBuffer = 16 << 10
	sendBuffer    = 64 << 10
)

// Listen listens on the TCP address that a setting has. An error names the setting and its value.
func Listen(ctx context.Context, setting, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s %q: %w", setting, address, err)
	}
	return listener{l}, nil
}

// listener accepts connections that cost the kernel little.
type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := accepted.(*net.TCPConn)
	if !ok {
		return accepted, nil
	}
	_ = tcp.SetReadBuffer(receiveBuffer) // fails for a connection that is closed already
	_ = tcp.SetWriteBuffer(sendBuffer)
	return connection{tcp}, nil
}

// connection is reset, instead of closed, once a write has failed: the client did not read in time.
// After a close the kernel would keep what was not sent for minutes, and go on offering it
// (tcp_orphan_retries in tcp(7)).
type connection struct{ *net.TCPConn }

// Write implements net.Conn.
func (c connection) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	if err != nil {
		_ = c.SetLinger(0) // SO_LINGER in socket(7): a close drops what was not sent
	}
	return n, err
}

// reset closes a connection and drops what was not sent. It never blocks, as closing that of TLS may:
// for 5 s, until the client takes the alert that TLS sends first (tls.Conn.closeNotify).
func reset(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if c, ok := conn.(connection); ok {
		_ = c.SetLinger(0) // fails for a connection that is closed already
	}
	_ = conn.Close() // the same
}
