package knfsd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo is in the place of the kernel's server, and says each line again.
func echo(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewReader(c); ; {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

const soon = 300 * time.Millisecond

// call says a line through a connection and returns what it hears within a time.
func call(c net.Conn, within time.Duration) (string, error) {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func dial(g *Gate, within time.Duration) (net.Conn, error) {
	return net.DialTimeout("tcp4", fmt.Sprintf("%s:%d", g.Address(), gatePort), within)
}

func TestGate(t *testing.T) {
	echo(t)
	g, err := NewGate("127.0.0.2")
	must(t, err)
	t.Cleanup(g.Close)
	c, err := dial(g, time.Minute)
	must(t, err)
	defer c.Close()
	hears := func(c net.Conn) {
		t.Helper()
		if said, err := call(c, time.Minute); err != nil || said != "hello" {
			t.Fatalf("%q, %v", said, err)
		}
	}
	hears(c)
	for _, state := range []State{Stall, Vanish} {
		must(t, g.Set(state))
		if said, err := call(c, soon); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("state %d: %q, %v", state, said, err)
		}
		other, err := dial(g, soon)
		if (err == nil) != (state == Stall) {
			t.Errorf("state %d: new connections %v", state, err)
		}
		if err == nil {
			other.Close()
		}
		must(t, g.Set(Open))
		hears(c) // the answer to what was said before
	}
	slow, err := dial(g, time.Minute) // without answers that are under way
	must(t, err)
	defer slow.Close()
	g.Slow(soon)
	began := time.Now()
	hears(slow)
	if took := time.Since(began); took < soon {
		t.Errorf("slow: %s", took)
	}
	g.Slow(0)

	must(t, g.Set(Refuse))
	if _, err := call(c, time.Minute); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("refuses, with a connection: %v", err)
	}
	if _, err := dial(g, time.Minute); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refuses: %v", err)
	}
	must(t, g.Set(Open))
	again, err := dial(g, time.Minute)
	must(t, err)
	defer again.Close()
	hears(again)
}

func TestGateNeedsItsAddress(t *testing.T) {
	if _, err := NewGate("203.0.113.1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("%v", err)
	}
}

func TestResponder(t *testing.T) {
	var asked []byte
	r, err := respond("tcp4", "127.0.0.1:0", func(procedure uint32, args []byte) []byte {
		asked = append([]byte{byte(procedure)}, args...)
		return words(7)
	})
	must(t, err)
	defer r.close()
	c, err := net.Dial("tcp4", r.listener.Addr().String())
	must(t, err)
	defer c.Close()
	text := words(99, 0, 2, 100005, 3, 1, 0, 0, 0, 4, 5) // a call of procedure 1, no credentials, a verifier of four bytes
	_, err = c.Write(append(words(1<<31|uint32(len(text)+4)), append(text, words(42)...)...))
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	reply := make([]byte, 4+7*4)
	if n, err := c.Read(reply); err != nil || n != len(reply) || !bytes.Equal(reply, words(1<<31|28, 99, 1, 0, 0, 0, 0, 7)) {
		t.Errorf("%x, %v", reply[:n], err)
	}
	if string(asked) != "\x01"+string(words(42)) {
		t.Errorf("asked %x", asked)
	}
	_, err = c.Write(words(1<<31 | 4))
	must(t, err)
	if _, err := c.Read(reply); err == nil {
		t.Error("an answer to what is no call")
	}
}

func TestArguments(t *testing.T) {
	header := words(1, 0, 2, 3, 4, 5)
	for name, rest := range map[string][]byte{
		"nothing": nil, "half": words(0), "credentials that are too long": words(1, 400, 0, 0), "no verifier": words(0, 0), "negative": words(0, 1<<32-1, 0, 0),
	} {
		if args, err := arguments(append(append([]byte{}, header...), rest...)); err == nil {
			t.Errorf("%s: %x", name, args)
		}
	}
	if args, err := arguments(append(header, words(1, 3, 0, 0, 0, 8)...)); err != nil || !bytes.Equal(args, words(8)) {
		t.Errorf("%x, %v", args, err)
	}
}

func TestMountd(t *testing.T) {
	if got := mount(0, nil); got != nil {
		t.Errorf("NULL: %x", got)
	}
	for _, args := range [][]byte{nil, words(100), words(1 << 30)} {
		if got := mount(mountProc, args); !bytes.Equal(got, words(2)) {
			t.Errorf("%x: %x", args, got)
		}
	}
}
