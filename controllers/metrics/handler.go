package metrics

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	encodingHeader = "Content-Encoding"
	gzipEncoding   = "gzip"
)

// NewHandler serves what g gathers as promhttp does, in bounded memory. 2,000 mounts are 8 MiB of
// gathered metrics, 2 MiB of text and 60 KiB of compressed text. promhttp keeps the gathered
// metrics of each request until its client has read all of the response, however slowly. This
// handler gathers for one request at a time, and keeps the compressed text of the others.
func NewHandler(g prometheus.Gatherer) http.Handler {
	options := promhttp.HandlerOpts{OfferedCompressions: []promhttp.Compression{promhttp.Gzip}}
	return &metricsHandler{promhttp.HandlerFor(g, options), make(chan struct{}, 1)}
}

// metricsHandler gathers for one request at a time.
type metricsHandler struct {
	inner http.Handler
	turn  chan struct{} // has an element while a request gathers
}

// ServeHTTP implements http.Handler.
func (h *metricsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a := h.gatherMetrics(r); a != nil {
		_ = a.sendTo(w, acceptsGzip(r)) // fails when the client has disconnected
	}
}

// gatherMetrics returns the compressed response, or nil when the client disconnects before its
// turn.
func (h *metricsHandler) gatherMetrics(r *http.Request) *bufferedResponse {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-r.Context().Done():
		return nil
	}
	compressed := r.Clone(r.Context())
	compressed.Header.Set("Accept-Encoding", gzipEncoding)
	a := &bufferedResponse{header: http.Header{}, status: http.StatusOK}
	h.inner.ServeHTTP(a, compressed)
	return a
}

// acceptsGzip is false where a client weighs encodings. No scraper does, and plain text is always
// acceptable unless it is excluded (RFC 9110, section 12.5.3).
func acceptsGzip(r *http.Request) bool {
	offers := strings.Split(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",")
	return slices.ContainsFunc(offers, func(offer string) bool { return strings.TrimSpace(offer) == gzipEncoding })
}

// bufferedResponse is a response in memory. It implements http.ResponseWriter.
type bufferedResponse struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *bufferedResponse) Header() http.Header         { return a.header }
func (a *bufferedResponse) WriteHeader(status int)      { a.status = status }
func (a *bufferedResponse) Write(p []byte) (int, error) { return a.body.Write(p) }

// sendTo writes the response. It decompresses the response for a client that does not accept gzip.
func (a *bufferedResponse) sendTo(w http.ResponseWriter, compressed bool) error {
	var body io.Reader = &a.body
	if !compressed && a.header.Get(encodingHeader) == gzipEncoding {
		text, err := gzip.NewReader(&a.body)
		if err != nil {
			return fmt.Errorf("decompress the metrics: %w", err)
		}
		a.header.Del(encodingHeader)
		body = text
	}
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, err := io.Copy(w, body)
	return err
}
