package agents

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

type served []string

// RoundTrip takes every request and answers it well.
func (s *served) RoundTrip(r *http.Request) (*http.Response, error) {
	*s = append(*s, kind(r))
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("{}"))}, nil
}

// An agent sees nothing and sends nothing from its crash on; whether the last write was done is what the two kinds differ in.
func TestCrash(t *testing.T) {
	const lease, eviction = "/apis/coordination.k8s.io/v1/namespaces/a/leases/ledger", "/api/v1/namespaces/a/pods/p/eviction"
	requests := []struct{ method, path string }{{"GET", lease}, {"PUT", lease}, {"POST", eviction}, {"GET", lease}, {"PUT", lease}}
	for name, tc := range map[string]struct {
		crash  Crash
		served int
		seen   int
		where  string
	}{
		"never":        {Crash{}, 5, 5, ""},
		"before first": {Crash{Write: 1}, 1, 1, "before PUT leases"},
		"after first":  {Crash{Write: 1, After: true}, 2, 1, "after PUT leases"},
		"before next":  {Crash{Write: 2}, 2, 2, "before POST pods/eviction"},
		"after next":   {Crash{Write: 2, After: true}, 3, 2, "after POST pods/eviction"},
		"after last":   {Crash{Write: 3, After: true}, 5, 4, "after PUT leases"},
		"later":        {Crash{Write: 4}, 5, 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var server served
			where, seen := "", 0
			line := &lifeline{next: &server, crash: tc.crash, die: func(at string) { where = at }}
			for _, r := range requests {
				request, err := http.NewRequestWithContext(t.Context(), r.method, "https://server"+r.path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := line.RoundTrip(request)
				if err == nil {
					seen++
					_ = answer.Body.Close()
				} else if !errors.Is(err, errDead) {
					t.Error(err)
				}
			}
			if len(server) != tc.served || seen != tc.seen || where != tc.where {
				t.Errorf("served %v, the agent saw %d answers and crashed %q", server, seen, where)
			}
		})
	}
}
