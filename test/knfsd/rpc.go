package knfsd

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
)

const (
	rpcbindSocket = "/var/run/rpcbind.sock" // RPCBIND_SOCK_PATHNAME in net/sunrpc/rpcb_clnt.c
	mountdPort    = 20048
	mountProc     = 1 // MOUNTPROC3_MNT of RFC 1813
	maxCall       = 64 << 10
	headerWords   = 6 // of a call before its credentials (RFC 5531)
)

var errCall = errors.New("not an RPC call")

// responder answers the RPC calls of all who connect.
type responder struct {
	listener net.Listener
	answer   func(procedure uint32, args []byte) []byte
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when it is closed
}

// respond listens until close.
func respond(network, address string, answer func(uint32, []byte) []byte) (*responder, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	r := &responder{listener: l, answer: answer, conns: map[net.Conn]struct{}{}}
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r.keep(c) {
				r.running.Go(func() { r.serve(c) })
			}
		}
	})
	return r, nil
}

// keep notes a connection for close, which may have come before.
func (r *responder) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		c.Close()
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *responder) close() {
	r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.running.Wait()
}

// serve answers until the other side, or close, closes the connection.
func (r *responder) serve(c net.Conn) {
	defer c.Close()
	for {
		call, err := readCall(c)
		if err != nil {
			return
		}
		if _, err := c.Write(r.reply(call)); err != nil {
			return
		}
	}
}

// readCall reads a record of one fragment.
func readCall(r io.Reader) ([]byte, error) {
	var mark [4]byte
	if _, err := io.ReadFull(r, mark[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(mark[:]) &^ (1 << 31)
	if n < 4*headerWords || n > maxCall {
		return nil, errCall
	}
	call := make([]byte, n)
	_, err := io.ReadFull(r, call)
	return call, err
}

// reply is the record that accepts a call.
func (r *responder) reply(call []byte) []byte {
	body := append(append([]byte{}, call[:4]...), words(1, 0, 0, 0, 0)...) // a reply, accepted, no verifier, success
	if args, err := arguments(call); err == nil {
		body = append(body, r.answer(binary.BigEndian.Uint32(call[20:]), args)...)
	}
	return append(words(1<<31|uint32(len(body))), body...)
}

// arguments are what follows the credentials and the verifier.
func arguments(call []byte) ([]byte, error) {
	rest := call[4*headerWords:]
	for range 2 {
		if len(rest) < 8 {
			return nil, errCall
		}
		n := (int(binary.BigEndian.Uint32(rest[4:])) + 3) &^ 3
		if len(rest) < 8+n {
			return nil, errCall
		}
		rest = rest[8+n:]
	}
	return rest, nil
}

func words(all ...uint32) (text []byte) {
	for _, w := range all {
		text = binary.BigEndian.AppendUint32(text, w)
	}
	return text
}

// alwaysTrue is an rpcbind that registers whatever it is asked to.
func alwaysTrue(uint32, []byte) []byte { return words(1) }

// StartMountd lets NFS 3 be mounted.
func (s *Server) StartMountd() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mountd == nil {
		s.mountd, err = respond("tcp4", fmt.Sprintf("127.0.0.1:%d", mountdPort), mount)
	}
	return err
}

// StopMountd lets no NFS 3 be mounted; what is mounted stays.
func (s *Server) StopMountd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mountd != nil {
		s.mountd.close()
		s.mountd = nil
	}
}

// mount answers MNT with the handle of a path: status, handle, the flavours of authentication.
func mount(procedure uint32, args []byte) []byte {
	const notThere, system = 2, 1
	if procedure != mountProc {
		return nil
	}
	if len(args) < 4 || int(binary.BigEndian.Uint32(args)) > len(args)-4 {
		return words(notThere)
	}
	handle, err := handleOf(string(args[4 : 4+binary.BigEndian.Uint32(args)]))
	if err != nil {
		return words(notThere)
	}
	reply := append(words(0, uint32(len(handle))), handle...)
	for len(reply)%4 != 0 {
		reply = append(reply, 0)
	}
	return append(reply, words(1, system)...)
}

// handleOf asks the kernel.
func handleOf(path string) ([]byte, error) {
	f, err := os.OpenFile(control+"/filehandle", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s %s 64\n", domain, path); err != nil {
		return nil, err
	}
	text := make([]byte, 512)
	n, err := f.Read(text)
	if err != nil {
		return nil, err
	}
	return hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(text[:n])), `\x`))
}
