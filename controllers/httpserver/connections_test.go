package httpserver_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/mountwarden/mountwarden/controllers/httpserver"
)

const (
	attackers = 300
	limit     = 64 + 32 // of the connections that owe a request, and of those that are served
)

// attack is connections that stay open and read nothing.
type attack struct {
	conns []net.Conn
	all   sync.WaitGroup
}

// add opens a connection that sends as much of a text as the server takes.
func (a *attack) add(t *testing.T, from, to, text string) {
	t.Helper()
	conn := dial(t, from, to)
	a.conns = append(a.conns, conn)
	a.all.Go(func() { _, _ = io.WriteString(conn, text) }) // fails when the server has enough
}

// stop ends the attack.
func (a *attack) stop() {
	for _, conn := range a.conns {
		conn.Close()
	}
	a.all.Wait()
}

// open counts the open connections of a server.
type open struct{ atomic.Int64 }

func (o *open) count(s *http.Server) {
	next := s.ConnState
	s.ConnState = func(conn net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			o.Add(1)
		case http.StateClosed, http.StateHijacked:
			o.Add(-1)
		case http.StateActive, http.StateIdle:
		}
		next(conn, state)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// checkGrowth checks the memory of an attack, together with that of the test's own side.
func checkGrowth(t *testing.T, before, most uint64) {
	t.Helper()
	grown := (int64(most) - int64(before)) / 1024
	t.Logf("%d KiB for %d connections", grown, attackers)
	if grown > 24<<10 {
		t.Errorf("%d KiB for %d connections", grown, attackers)
	}
}

// becomes waits for a condition.
func becomes(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline, again := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		case <-again.C:
		}
	}
}

// Whatever is left unfinished, by many connections of one client, the server needs little memory and
// answers every other request, even of the same client.
func TestUnfinishedRequests(t *testing.T) {
	megabyte := strings.Repeat("a: "+strings.Repeat("a", 60000)+"\r\n", 17)
	large := strings.Repeat("a", 200<<10)
	for name, text := range map[string]string{
		"nothing is sent":              "",
		"half a request line":          "GET /",
		"a header of 1 MiB":            get + megabyte,
		"a header that is just small":  get + "a: " + strings.Repeat("a", 11<<10),
		"a header with the most names": get + tinyFields(11<<10),
		"a body":                       "POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 100000000\r\n\r\n" + megabyte,
		"no response is read":          get + "\r\n",
		"requests without a pause":     strings.Repeat(get+"\r\n", 20),
	} {
		t.Run(name, func(t *testing.T) {
			var connections open
			address := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.UserAgent() == "kubelet" {
					hello(w, r)
					return
				}
				for range 20 {
					_, _ = io.WriteString(w, large) // fails when the client is cut off
				}
			}), connections.count)
			before, most := heap(), uint64(0)
			var a attack
			defer a.stop()
			for i := range attackers {
				a.add(t, "127.0.0.1", address, text)
				if i%20 == 19 {
					conn := dial(t, "127.0.0.1", address)
					send(t, conn, get+"User-Agent: kubelet\r\n\r\n")
					if code, text := status(t, conn); code != http.StatusOK {
						t.Errorf("after %d: status %d, %s", i+1, code, text)
					}
					most = max(most, heap())
				}
			}
			checkGrowth(t, before, most)
			becomes(t, "connections are closed", func() bool { return connections.Load() <= limit })
		})
	}
}

// tinyFields returns fields that are as short as they can be, each with a name of its own.
func tinyFields(size int) string {
	var all strings.Builder
	for i := 0; all.Len() < size; i++ {
		fmt.Fprintf(&all, "%x:\n", i)
	}
	return all.String()
}

// A request that is being served is not given up for those that are not complete, or are refused, even of one client.
func TestServingOutlastsWaiting(t *testing.T) {
	for name, text := range map[string]string{
		"unfinished": get,
		"too large":  get + "a: " + strings.Repeat("a", 20<<10),
		"no HTTP":    "hello\r\n\r\n",
		"refused":    "POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			began, goOn := make(chan struct{}), make(chan struct{})
			address := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(began)
				<-goOn
				hello(w, r)
			}))
			scrape := dial(t, "127.0.0.1", address)
			send(t, scrape, get+"\r\n")
			<-began
			var a attack
			defer a.stop()
			for range attackers {
				a.add(t, "127.0.0.1", address, text)
			}
			becomes(t, "the oldest is closed", func() bool { return closed(t, a.conns[0]) })
			close(goOn)
			if code, text := status(t, scrape); code != http.StatusOK || text != "hello" {
				t.Errorf("status %d, %s", code, text)
			}
		})
	}
}

// At the limit a client that has many connections loses the oldest of its own, and nobody else does.
func TestAttackersLoseTheirOwn(t *testing.T) {
	goOn := make(chan struct{})
	address := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-goOn:
			case <-r.Context().Done():
			}
		}
		hello(w, r)
	}))
	unfinished, idle, slow := dial(t, "127.0.0.1", address), dial(t, "127.0.0.1", address), dial(t, "127.0.0.1", address)
	send(t, unfinished, get)
	send(t, slow, "GET /slow HTTP/1.1\r\nHost: node\r\n\r\n")
	send(t, idle, get+"\r\n")
	if code, text := status(t, idle); code != http.StatusOK {
		t.Fatal(code, text)
	}
	var a attack
	defer a.stop()
	for i := range 3 * attackers {
		from := fmt.Sprintf("127.0.0.%d", 2+i%5)
		a.add(t, from, address, []string{get, "GET /slow HTTP/1.1\r\nHost: node\r\n\r\n", ""}[i%3])
	}
	last := a.conns[len(a.conns)-3]
	becomes(t, "the oldest is closed", func() bool { return closed(t, a.conns[0]) && closed(t, a.conns[1]) })
	if closed(t, last) {
		t.Error("the newest of an attacker is closed, too")
	}
	send(t, unfinished, "\r\n")
	send(t, idle, get+"\r\n")
	close(goOn)
	for name, conn := range map[string]net.Conn{"unfinished": unfinished, "idle": idle, "slow": slow} {
		if code, text := status(t, conn); code != http.StatusOK || text != "hello" {
			t.Errorf("%s: status %d, %s", name, code, text)
		}
	}
}

// closed says whether the server has closed a connection, whatever it has sent.
func closed(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, conn)
	return err == nil || errors.Is(err, syscall.ECONNRESET)
}

// secure is a server of HTTPS and a client of it.
func secure(t *testing.T, handler http.Handler, change ...func(*http.Server)) (string, *tls.Config) {
	t.Helper()
	pem, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pem, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := httpserver.Listen(t.Context(), "metricsBindAddress", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), handler, change...)
	return listener.Addr().String(), &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the test's own
}

// A handshake that is not finished is a connection as well, and so is one that nothing follows.
func TestUnfinishedHandshakes(t *testing.T) {
	// A record of 16 KiB with the first part of a ClientHello of 64 KiB (RFC 8446, sections 4 and 5.1), four times.
	record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 16<<10)...)
	record[5], record[7], record[8] = 1, 0xff, 0xff
	for name, text := range map[string]string{"nothing is sent": "", "a ClientHello that is never complete": strings.Repeat(string(record), 4)[:64000]} {
		t.Run(name, func(t *testing.T) {
			var connections open
			address, config := secure(t, http.HandlerFunc(hello), connections.count)
			before, most := heap(), uint64(0)
			var a attack
			defer a.stop()
			for i := range attackers {
				a.add(t, "127.0.0.2", address, text)
				if i%20 == 19 {
					conn := tls.Client(dial(t, "127.0.0.1", address), config)
					send(t, conn, get+"\r\n")
					if code, text := status(t, conn); code != http.StatusOK {
						t.Errorf("after %d: status %d, %s", i+1, code, text)
					}
					conn.Close()
					most = max(most, heap())
				}
			}
			checkGrowth(t, before, most)
			becomes(t, "connections are closed", func() bool { return connections.Load() <= limit })
		})
	}
}

// A client that does not read its response in time is reset: the kernel keeps nothing for it.
func TestSlowReadersAreReset(t *testing.T) {
	ended := make(chan struct{})
	large := strings.Repeat("a", 8<<20)
	address := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, large) }), func(s *http.Server) {
		s.WriteTimeout = 100 * time.Millisecond
		next := s.ConnState
		s.ConnState = func(conn net.Conn, state http.ConnState) {
			next(conn, state)
			if state == http.StateClosed {
				close(ended)
			}
		}
	})
	conn := dial(t, "127.0.0.1", address)
	send(t, conn, get+"\r\n")
	<-ended
	n, err := io.Copy(io.Discard, conn)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes and %v, want to be reset", n, err)
	}
}
