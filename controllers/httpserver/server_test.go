package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/mountwarden/mountwarden/controllers/httpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that takes milliseconds on an idle machine.
const patience = 30 * time.Second

// start serves a handler on loopback until the test ends, and returns the address.
func start(t *testing.T, handler http.Handler, change ...func(*http.Server)) string {
	t.Helper()
	listener, err := httpserver.Listen(t.Context(), "metricsBindAddress", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, listener, handler, change...)
	return listener.Addr().String()
}

func serve(t *testing.T, listener net.Listener, handler http.Handler, change ...func(*http.Server)) {
	t.Helper()
	server := httpserver.New(context.Background(), handler, logr.Discard())
	for _, c := range change {
		c(server)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// dial connects from an address of this host, such as 127.0.0.2.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := dialer.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// send writes text, which may be more than the server takes.
func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
}

// status reads the response that stands on a connection, and returns its status and its text.
func status(t *testing.T, conn net.Conn) (int, string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }

const get = "GET / HTTP/1.1\r\nHost: node\r\n"

func TestWhatIsServed(t *testing.T) {
	address := start(t, http.HandlerFunc(hello))
	for name, tc := range map[string]struct {
		request string
		status  int
		text    string
	}{
		"a GET":                       {get + "\r\n", 200, "hello"},
		"of HTTP/1.0":                 {"GET / HTTP/1.0\r\n\r\n", 200, "hello"},
		"a HEAD":                      {"HEAD / HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", 200, ""},
		"a token of 10 KiB":           {get + "Authorization: Bearer " + strings.Repeat("t", 10<<10) + "\r\n\r\n", 200, "hello"},
		"a token of 16 KiB":           {get + "Authorization: Bearer " + strings.Repeat("t", 16<<10) + "\r\n\r\n", 431, ""},
		"a path of 16 KiB":            {"GET /" + strings.Repeat("p", 16<<10) + " HTTP/1.1\r\nHost: node\r\n\r\n", 431, ""},
		"100 fields":                  {get + fields(100) + "\r\n", 200, "hello"},
		"101 fields":                  {get + fields(101) + "\r\n", 431, "at most 100 fields"},
		"101 fields of one name":      {get + strings.Repeat("a: \r\n", 101) + "\r\n", 431, "at most 100 fields"},
		"a POST":                      {"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n\r\n", 405, `"POST": must be GET or HEAD`},
		"a POST with a body to come":  {"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\n", 405, "must be GET or HEAD"},
		"a PUT in chunks to come":     {"PUT / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n", 405, "must be GET or HEAD"},
		"a DELETE":                    {"DELETE / HTTP/1.1\r\nHost: node\r\n\r\n", 405, "must be GET or HEAD"},
		"a CONNECT":                   {"CONNECT node:1 HTTP/1.1\r\nHost: node:1\r\n\r\n", 405, "must be GET or HEAD"},
		"an unknown method":           {"BREW / HTTP/1.1\r\nHost: node\r\n\r\n", 405, "must be GET or HEAD"},
		"a GET with a body to come":   {get + "Content-Length: 1000\r\n\r\n", 413, "must have no body"},
		"a GET in chunks to come":     {get + "Transfer-Encoding: chunked\r\n\r\n", 413, "must have no body"},
		"a body that is asked for":    {get + "Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n", 413, "must have no body"},
		"an upgrade to HTTP/2":        {get + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 200, "hello"},
		"HTTP/2 with prior knowledge": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 405, "must be GET or HEAD"},
		"no HTTP":                     {"hello\r\n\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, "127.0.0.1", address)
			send(t, conn, tc.request)
			if code, text := answer(t, conn, tc.request); code != tc.status || !strings.Contains(text, tc.text) {
				t.Errorf("status %d, %q; want %d, %q", code, text, tc.status, tc.text)
			}
		})
	}
}

// fields returns n fields of a header, together with Host.
func fields(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "f%d: \r\n", i)
	}
	return all.String()
}

// answer is status; a HEAD has no text, whatever the length that its header says.
func answer(t *testing.T, conn net.Conn, request string) (int, string) {
	t.Helper()
	if !strings.HasPrefix(request, http.MethodHead) {
		return status(t, conn)
	}
	text, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(text, []byte("HTTP/1.1 200 OK\r\n")) || bytes.Contains(text, []byte("hello")) {
		t.Errorf("%q, %v", text, err)
	}
	return http.StatusOK, ""
}

// What is refused is over at once: the server waits for nothing more, least of all for a body.
func TestWhatIsRefusedIsOver(t *testing.T) {
	address := start(t, http.HandlerFunc(hello))
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 200000\r\n\r\n",
		get + "Transfer-Encoding: chunked\r\n\r\n",
		get + fields(101) + "\r\n",
	} {
		conn, began := dial(t, "127.0.0.1", address), time.Now()
		send(t, conn, request)
		if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%.20q: %v after %s", request, err, time.Since(began))
		}
	}
}

// Neither an unfinished header nor a handshake may last.
func TestUnfinishedRequestsEnd(t *testing.T) {
	t.Parallel()
	address := start(t, http.HandlerFunc(hello))
	conn := dial(t, "127.0.0.1", address)
	send(t, conn, get)
	if n, err := io.Copy(io.Discard, conn); err != nil || n > 0 {
		t.Errorf("%d bytes, %v; want the end", n, err)
	}
	server := httpserver.New(t.Context(), http.NotFoundHandler(), logr.Discard())
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.WriteTimeout < 30*time.Second || server.IdleTimeout < time.Minute {
		t.Errorf("a handshake, a request or an idle connection has no limit, or a slow scrape has no time: %+v", server)
	}
}

// A request is given up when the agent stops.
func TestRequestsEndWithTheAgent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began, ended := make(chan struct{}), make(chan struct{})
	server := httpserver.New(ctx, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	}), logr.Discard())
	address := start(t, server.Handler, func(s *http.Server) { s.BaseContext = server.BaseContext })
	send(t, dial(t, "127.0.0.1", address), get+"\r\n")
	<-began
	cancel()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the request goes on")
	}
}

func TestListenNamesTheSetting(t *testing.T) {
	taken, err := httpserver.Listen(t.Context(), "metricsBindAddress", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, address := range []string{taken.Addr().String(), "192.0.2.1:1", "nowhere"} {
		_, err := httpserver.Listen(t.Context(), "healthProbeBindAddress", address)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("healthProbeBindAddress %q", address)) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Nobody can fill the log, and a handler that panics is in it.
func TestLogIsLimited(t *testing.T) {
	var lines bytes.Buffer
	server := httpserver.New(t.Context(), http.NotFoundHandler(), logr.FromSlogHandler(slog.NewTextHandler(&lines, nil)))
	log := server.ErrorLog.Writer() //nolint:forbidigo // the test writes what net/http does
	for i := range 1001 {
		line := "http: TLS handshake error from 127.0.0.1:1: EOF\n"
		if i == 0 {
			line = "http: panic serving 127.0.0.1:1: oops\n"
		}
		if _, err := io.WriteString(log, line); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(lines.String(), "\n"); n < 2 || n > 20 || !strings.Contains(lines.String(), "oops") {
		t.Errorf("%d lines:\n%s", n, lines.String())
	}
}
