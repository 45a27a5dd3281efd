package apitest

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Traffic is between a client and the API server. It counts the requests that evict or delete a
// pod, and lets a test act before them.
type Traffic struct {
	// Before is called before a request that evicts or deletes a pod is sent. If its answer is not
	// nil, the client gets it in place of the API server's, and the request is not sent.
	Before func(*http.Request) (*http.Response, error)

	mu       sync.Mutex
	removals []string
}

// Client returns a client of config whose requests go through t.
func (t *Traffic) Client(tb testing.TB, config *rest.Config) kubernetes.Interface {
	tb.Helper()
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripFunc(func(r *http.Request) (*http.Response, error) { return t.roundTrip(next, r) })
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	return client
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (t *Traffic) roundTrip(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	if kind := classifyRemoval(r); kind != "" {
		t.mu.Lock()
		t.removals = append(t.removals, kind)
		t.mu.Unlock()
		if t.Before != nil {
			if answer, err := t.Before(r); answer != nil || err != nil {
				return answer, err
			}
		}
	}
	return next.RoundTrip(r)
}

// classifyRemoval returns "evict" or "delete" for a request that removes a pod, else "".
func classifyRemoval(r *http.Request) string {
	switch {
	case r.Method == http.MethodDelete:
		return "delete"
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/eviction"):
		return "evict"
	default:
		return ""
	}
}

// Removals returns the requests that remove a pod, "evict" or "delete", in their order.
func (t *Traffic) Removals() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.removals...)
}
