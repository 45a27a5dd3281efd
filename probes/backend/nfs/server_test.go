package nfs

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/probes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortTimeout is how long to wait for a server that never answers.
const shortTimeout = 500 * time.Millisecond

// startServer starts a fake server: behave gets each connection with the call that came over it.
func startServer(t *testing.T, behave func(c net.Conn, call []byte)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c) // closed at the end, so that those that hang stay open
			if call, err := readRecord(c); err == nil {
				behave(c, call)
			}
		}
	}()
	t.Cleanup(func() {
		must(t, l.Close())
		<-done
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

// findClosedPort returns a port that nobody listens on.
func findClosedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, l.Close())
	return l.Addr().(*net.TCPAddr).Port
}

// makeReply is one of the kinds of replies to a call, whose id it echoes.
func makeReply(call []byte, words ...uint32) []byte {
	text := append([]byte{}, call[:4]...)
	for _, w := range words {
		text = binary.BigEndian.AppendUint32(text, w)
	}
	return text
}

// makeRecord makes a record of a reply, in fragments of at most size bytes.
func makeRecord(text []byte, size int) (all []byte) {
	for {
		n := min(size, len(text))
		mark := uint32(n)
		if n == len(text) {
			mark |= lastFragment
		}
		all = append(binary.BigEndian.AppendUint32(all, mark), text[:n]...)
		if text = text[n:]; len(text) == 0 {
			return all
		}
	}
}

// replyWith answers each call with the words after the id, as one record.
func replyWith(words ...uint32) func(net.Conn, []byte) {
	return func(c net.Conn, call []byte) { _, _ = c.Write(makeRecord(makeReply(call, words...), maxReply)) }
}

func hang(net.Conn, []byte) {}

func closeConn(c net.Conn, _ []byte) { _ = c.Close() }

// resetConn closes with data of the other side unread, at which the kernel sends RST.
func resetConn(c net.Conn, _ []byte) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func writeText(text string) func(net.Conn, []byte) {
	return func(c net.Conn, _ []byte) { _, _ = c.Write([]byte(text)) }
}

// replySlowly writes a good reply byte by byte, in fragments.
func replySlowly(c net.Conn, call []byte) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, b := range makeRecord(makeReply(call, goodReply...), 7) {
		<-tick.C
		_, _ = c.Write([]byte{b})
	}
}

// goodReply are the words of a successful reply without results.
var goodReply = []uint32{typeReply, replyAccepted, authNone, 0, acceptSuccess}

func expectReadiness(t *testing.T, f probes.MountReadiness, readiness probes.Readiness, detail string) {
	t.Helper()
	if f.Readiness != readiness || !strings.Contains(f.Detail, detail) || f.Detail == "" {
		t.Errorf("got %s %q, want %s %q", f.Readiness, f.Detail, readiness, detail)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
