package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// The limits of both sets of connections of one server. The kubelet, scrapers and a browser have a handful. One that
// waits costs little, and is the oldest the later the more there are: the kubelet sends its request within a
// millisecond of its connection, in which a flood opens some fifteen others.
const (
	maxWaiting = 64
	maxServing = 32
)

// connections tracks the open connections of one server, in two sets:
//
//	accepted --> waiting -- a handler gets its request --> serving --> closed
//	                ^                                         |
//	                +------------- response written ----------+
//
// Each set has a limit of its own, so that clients that do not read their responses cannot use up the
// room of those that are about to send a request, nor the other way round. A connection that was reset
// is in neither, until net/http notices and closes it.
type connections struct {
	mu      sync.Mutex
	waiting []net.Conn // the oldest first; new, idle, or with a request that is refused
	serving []net.Conn // the oldest first; a handler has their request
}

// noteState is the ConnState of a server.
func (c *connections) noteState(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.waiting = addWithinLimit(c.waiting, conn, maxWaiting)
	case http.StateActive: // means no more than that the server has read something: see noteRequest
	case http.StateIdle:
		move(conn, &c.serving, &c.waiting, maxWaiting)
	case http.StateHijacked, http.StateClosed:
		same := func(other net.Conn) bool { return other == conn }
		c.waiting, c.serving = slices.DeleteFunc(c.waiting, same), slices.DeleteFunc(c.serving, same)
	}
}

// noteRequest notes that a handler gets the request of a connection.
func (c *connections) noteRequest(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	move(conn, &c.waiting, &c.serving, maxServing)
}

// move does nothing for a connection that was reset.
func move(conn net.Conn, from, to *[]net.Conn, limit int) {
	if i := slices.Index(*from, conn); i >= 0 {
		*from = slices.Delete(*from, i, i+1)
		*to = addWithinLimit(*to, conn, limit)
	}
}

// addWithinLimit adds a connection, and resets another if they are too many then.
func addWithinLimit(set []net.Conn, conn net.Conn, limit int) []net.Conn {
	set = append(set, conn)
	if len(set) <= limit {
		return set
	}
	i := chooseVictim(set)
	reset(set[i]) // net/http closes it again when it notices
	return slices.Delete(set, i, i+1)
}

// chooseVictim returns the index of the oldest connection of the client address that has the most of
// them. So a client that opens many loses its own, however fast it opens them.
func chooseVictim(set []net.Conn) int {
	counts := map[netip.Addr]int{}
	for _, conn := range set {
		counts[clientOf(conn)]++
	}
	victim := 0
	for i, conn := range set {
		if counts[clientOf(conn)] > counts[clientOf(set[victim])] {
			victim = i
		}
	}
	return victim
}

// clientOf returns the address of the client, without its port.
func clientOf(conn net.Conn) netip.Addr {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
