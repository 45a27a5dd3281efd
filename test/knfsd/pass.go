package knfsd

import (
	"net"
	"time"
)

// serve passes on what both sides of a connection say, until one of them ends it.
func (g *Gate) serve(client *net.TCPConn) {
	defer client.Close()
	if !g.enter(client) {
		return
	}
	defer g.leave(client)
	if g.wait() < 0 {
		return
	}
	server, err := net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return
	}
	defer server.Close()
	if !g.enter(server) {
		return
	}
	defer g.leave(server)
	back := make(chan struct{})
	go func() {
		defer close(back)
		g.pass(server, client, false)
	}()
	g.pass(client, server, true)
	<-back
}

// enter notes a connection, unless none is wanted.
func (g *Gate) enter(c *net.TCPConn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.state == Refuse {
		_ = c.SetLinger(0)
		return false
	}
	if g.state == Vanish { // it came just before
		_ = dropAll(c, true) // it may be closed already
	}
	g.conns[c] = struct{}{}
	return true
}

func (g *Gate) leave(c *net.TCPConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, c)
}

// wait returns when something may pass: after which delay, or below 0 that nothing will.
func (g *Gate) wait() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.closed && (g.state == Stall || g.state == Vanish) {
		g.changed.Wait()
	}
	if g.closed || g.state == Refuse {
		return -1
	}
	return g.delay
}

// pass copies one way, and ends both connections when it ends.
func (g *Gate) pass(from, to *net.TCPConn, delayed bool) {
	defer from.Close()
	defer to.Close()
	packet := make([]byte, 64<<10)
	for {
		n, err := from.Read(packet)
		delay := g.wait()
		if delay < 0 {
			return
		}
		if delayed && delay > 0 {
			<-time.After(delay)
		}
		if _, werr := to.Write(packet[:n]); err != nil || werr != nil {
			return
		}
	}
}
