package knfsd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gatePort is where clients look for NFS.
const gatePort = 2049

// State is what a gate does with what clients send.
type State int

// The states of a Gate.
const (
	Open   State = iota // all is passed on
	Stall               // connections are taken, calls are never answered
	Vanish              // packets are dropped, as of a machine that has lost its power
	Refuse              // connections are reset, new ones refused, as of a machine whose server has ended
)

// Gate stands between clients and the server, at an address of its own, so that what is wrong at one is not at the others.
type Gate struct {
	address string
	running sync.WaitGroup

	mu       sync.Mutex
	changed  sync.Cond
	state    State
	delay    time.Duration
	closed   bool
	listener *net.TCPListener // nil in Refuse
	conns    map[*net.TCPConn]struct{}
}

// NewGate opens one at an address of this machine. Close it.
func NewGate(address string) (*Gate, error) {
	g := &Gate{address: address, conns: map[*net.TCPConn]struct{}{}}
	g.changed.L = &g.mu
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.listen(); err != nil {
		return nil, err
	}
	return g, nil
}

// Address is where the gate stands.
func (g *Gate) Address() string { return g.address }

// listen is called with the lock held.
func (g *Gate) listen() error {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // whose sockets take no filter
	listener, err := config.Listen(context.Background(), "tcp4", fmt.Sprintf("%s:%d", g.address, gatePort))
	if err != nil {
		return err
	}
	l := listener.(*net.TCPListener) //nolint:errcheck // of tcp4 it is one
	g.listener = l
	g.running.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			g.running.Go(func() { g.serve(c) })
		}
	})
	return nil
}

// Slow lets each packet of a client wait, which is about each call of one that waits for its answers.
func (g *Gate) Slow(delay time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delay = delay
}

// Set changes what the gate does, from now on.
func (g *Gate) Set(state State) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	if g.state == Vanish || state == Vanish {
		errs = append(errs, g.drop(state == Vanish))
	}
	switch {
	case state == Refuse && g.listener != nil:
		errs = append(errs, g.listener.Close())
		g.listener = nil
		g.reset()
	case state != Refuse && g.listener == nil:
		errs = append(errs, g.listen())
	}
	g.state = state
	g.changed.Broadcast()
	return errors.Join(errs...)
}

// reset ends all connections, as a machine does that knows nothing of them. It is called with the lock held.
func (g *Gate) reset() {
	for c := range g.conns {
		_ = c.SetLinger(0) // it may be closed already
		c.Close()
	}
}

// drop has the kernel drop whatever comes in, or not any more. It is called with the lock held.
func (g *Gate) drop(all bool) error {
	var errs []error
	if g.listener != nil {
		errs = append(errs, dropAll(g.listener, all))
	}
	for c := range g.conns {
		if err := dropAll(c, all); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func dropAll(of syscall.Conn, all bool) error {
	raw, err := of.SyscallConn()
	if err != nil {
		return err
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET}} // accept no byte
	var failed error
	err = raw.Control(func(fd uintptr) {
		if all {
			failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(failed, unix.ENOENT) { // there was none
			failed = nil
		}
	})
	return errors.Join(err, failed)
}

// Close ends it and all connections.
func (g *Gate) Close() {
	g.mu.Lock()
	g.closed = true
	if g.listener != nil {
		g.listener.Close()
	}
	g.reset()
	g.changed.Broadcast()
	g.mu.Unlock()
	g.running.Wait()
}
