package metrics_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/mountwarden/mountwarden/controllers/metrics"
	"github.com/mountwarden/mountwarden/controllers/verdict"
)

// ask returns the response of a handler to a GET with some fields of a header.
func ask(ctx context.Context, handler http.Handler, header http.Header) *httptest.ResponseRecorder {
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
	request.Header = header
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder
}

// textOf returns what a response says, decompressed.
func textOf(t *testing.T, response *httptest.ResponseRecorder) string {
	t.Helper()
	var body io.Reader = response.Body
	if response.Header().Get("Content-Encoding") == "gzip" {
		text, err := gzip.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		body = text
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Clients get what promhttp would give them.
func TestServesAsPromhttp(t *testing.T) {
	const native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.2"
	a := newAgent(t)
	a.exercise()
	for name, tc := range map[string]struct {
		header http.Header
		coding string
	}{
		"nothing is said":     {http.Header{}, ""},
		"Prometheus":          {http.Header{"Accept": {"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.4,*/*;q=0.1"}, "Accept-Encoding": {"gzip"}}, "gzip"},
		"native histograms":   {http.Header{"Accept": {native}, "Accept-Encoding": {"gzip"}}, "gzip"},
		"the same, plain":     {http.Header{"Accept": {native}}, ""},
		"curl --compressed":   {http.Header{"Accept": {"*/*"}, "Accept-Encoding": {"deflate, gzip, br, zstd"}}, "gzip"},
		"in two fields":       {http.Header{"Accept-Encoding": {"br", "gzip"}}, "gzip"},
		"another compression": {http.Header{"Accept-Encoding": {"zstd, br"}}, ""},
		"gzip excluded":       {http.Header{"Accept-Encoding": {"gzip;q=0, identity"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := ask(t.Context(), promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}), tc.header.Clone())
			got := ask(t.Context(), metrics.NewHandler(a.registry), tc.header.Clone())
			if got.Code != http.StatusOK || got.Header().Get("Content-Encoding") != tc.coding {
				t.Errorf("status %d, encoding %q, want %q", got.Code, got.Header().Get("Content-Encoding"), tc.coding)
			}
			if diff := cmp.Diff(want.Header()["Content-Type"], got.Header()["Content-Type"]); diff != "" {
				t.Errorf("content type (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.Header()["Vary"], got.Header()["Vary"]); diff != "" {
				t.Errorf("vary (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(textOf(t, want), textOf(t, got)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

// gatherer gathers by calling a function of the test.
type gatherer func() ([]*dto.MetricFamily, error)

func (g gatherer) Gather() ([]*dto.MetricFamily, error) { return g() }

func TestGatheringFails(t *testing.T) {
	handler := metrics.NewHandler(gatherer(func() ([]*dto.MetricFamily, error) { return nil, errors.New("no metrics today") }))
	for _, coding := range []string{"gzip", "identity"} {
		response := ask(t.Context(), handler, http.Header{"Accept-Encoding": {coding}})
		if text := textOf(t, response); response.Code != http.StatusInternalServerError || !strings.Contains(text, "no metrics today") {
			t.Errorf("%s: status %d, %q", coding, response.Code, text)
		}
	}
}

// Requests gather one at a time. One whose client has gone, or whose gathering panics, holds up no
// other.
func TestGathersOneAtATime(t *testing.T) {
	var now, most, panics atomic.Int64
	begun, goOn := make(chan struct{}, 100), make(chan struct{})
	handler := metrics.NewHandler(gatherer(func() ([]*dto.MetricFamily, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		begun <- struct{}{}
		<-goOn
		if panics.Add(1) == 1 {
			panic("once") //nolint:forbidigo // a registry of others may
		}
		return nil, nil
	}))
	var all sync.WaitGroup
	var served atomic.Int64
	for range 20 {
		all.Go(func() {
			defer func() { _ = recover() }() // as net/http does
			if ask(t.Context(), handler, http.Header{}).Code == http.StatusOK {
				served.Add(1)
			}
		})
	}
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	ask(gone, handler, http.Header{}) // returns, although another gathers
	close(goOn)
	all.Wait()
	if served.Load() != 19 || most.Load() != 1 || len(begun) != 19 {
		t.Errorf("%d served after %d gatherings, %d at a time; want 19 after 20, 1", served.Load(), len(begun)+1, most.Load())
	}
}

// stalled is a client that reads nothing after the first bytes.
type stalled struct {
	*httptest.ResponseRecorder
	all  *sync.WaitGroup // of those that are not stalled yet
	goOn chan struct{}
	once sync.Once
}

func (s *stalled) Write(p []byte) (int, error) {
	s.once.Do(s.all.Done)
	<-s.goOn
	return len(p), nil
}

// However many clients do not read, each of their responses takes a small part of what it is made
// of.
func TestSlowReadersTakeLittleMemory(t *testing.T) {
	const readers = 32
	a := newAgent(t)
	for i := range 2000 {
		s := status(fmt.Sprintf("/var/lib/application/data/%d", i), verdict.Healthy, fuse(""))
		s.Pod = fmt.Sprintf("application-7d9f8b6c5d-%05d", i)
		a.statuses = append(a.statuses, s)
	}
	gathered := grownBy(func() any {
		all, err := a.registry.Gather()
		if err != nil {
			t.Error(err)
		}
		return all
	})
	handler := metrics.NewHandler(a.registry)
	ask(t.Context(), handler, http.Header{}) // what is made once, such as a compressor, is no reader's
	var served, all sync.WaitGroup
	goOn := make(chan struct{})
	kept := grownBy(func() any {
		for i := range readers {
			all.Add(1)
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
			if i%2 == 0 {
				request.Header.Set("Accept-Encoding", "gzip")
			}
			served.Go(func() {
				handler.ServeHTTP(&stalled{ResponseRecorder: httptest.NewRecorder(), all: &all, goOn: goOn}, request)
			})
		}
		all.Wait()
		return nil
	})
	close(goOn)
	served.Wait()
	t.Logf("%d KiB are gathered, %d KiB are kept for each of %d readers", gathered>>10, kept>>10/readers, readers)
	if kept/readers > gathered/10 {
		t.Errorf("%d KiB are gathered and %d KiB are kept for each of %d readers", gathered>>10, kept>>10/readers, readers)
	}
}

// grownBy returns by how many bytes the heap has grown with what f makes.
func grownBy(f func() any) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	made := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(made)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}
