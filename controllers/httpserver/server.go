package httpserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
)

const (
	// maxHeaderBytes has room for several bearer tokens of a ServiceAccount, which take 1 to 2 KiB.
	// net/http refuses a header that is more than 4 KiB larger (Server.initialReadLimitSize).
	maxHeaderBytes = 8 << 10
	// maxHeaderFields is far above what any scraper sends. A field costs some 100 bytes of memory
	// however short it is, and 12 KiB have room for 3,000 of them.
	maxHeaderFields = 100

	headerTimeout = 5 * time.Second  // a TLS handshake, and then the header of a request
	bodyTimeout   = time.Minute      // a whole request, and its handler
	writeTimeout  = time.Minute      // a slow scrape of a node with many mounts
	idleTimeout   = 90 * time.Second // longer than scrapers wait from one scrape to the next
)

// New returns a server of HTTP/1.1 that hands handler the requests of clients that only read. ctx is
// the base context of all requests. The server logs to log what net/http has to say of connections.
func New(ctx context.Context, handler http.Handler, log logr.Logger) *http.Server {
	open := &connections{}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true) // no HTTP/2: each of its streams would be a request of its own
	return &http.Server{
		Handler:     allowReads(track(open, handler)),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ConnState:         open.noteState,
		ErrorLog:          slog.NewLogLogger(newLimitedHandler(log), slog.LevelInfo),
		Protocols:         protocols,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
	}
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// track notes each request that next gets.
func track(open *connections, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			open.noteRequest(conn)
		}
		next.ServeHTTP(w, r)
	})
}

// limitedHandler drops records beyond a rate: net/http reports each TLS handshake that fails, and
// anyone who reaches the port can make any number of them fail.
type limitedHandler struct {
	slog.Handler
	limiter *rate.Limiter
}

func newLimitedHandler(log logr.Logger) limitedHandler {
	return limitedHandler{Handler: logr.ToSlogHandler(log), limiter: rate.NewLimiter(rate.Every(time.Second), 10)}
}

// Enabled implements slog.Handler. A logger asks once for each record.
func (h limitedHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, level) && h.limiter.Allow()
}

// allowReads refuses requests that do more than read, before next sees them.
func allowReads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed, fmt.Sprintf("invalid method %q: must be GET or HEAD", r.Method))
		case r.ContentLength != 0:
			refuse(w, http.StatusRequestEntityTooLarge, "invalid request: must have no body")
		case countFields(r.Header) > maxHeaderFields:
			refuse(w, http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("invalid header: must have at most %d fields", maxHeaderFields))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refuse answers and ends the connection. Without the deadline net/http would read up to 256 KiB of
// the request's body first, for as long as ReadTimeout allows (maxPostHandlerReadBytes).
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // else ReadTimeout ends it
	http.Error(w, why, status)
}

func countFields(header http.Header) int {
	n := 0
	for _, values := range header {
		n += len(values)
	}
	return n
}
