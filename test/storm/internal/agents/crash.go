package agents

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
)

// errDead is what a request of a crashed agent ends with.
var errDead = errors.New("the agent has crashed")

// Crash says at which of its writes an agent ends. The zero value never does.
type Crash struct {
	Write int  // counted from 1
	After bool // when the API server took it, and not before it is sent
}

// lifeline is between an agent and the API server. It ends the agent at the write that was chosen, and lets nothing through
// afterwards.
type lifeline struct {
	next  http.RoundTripper
	crash Crash
	die   func(where string)

	mu     sync.Mutex
	writes int
	dead   bool
}

// RoundTrip implements http.RoundTripper.
func (l *lifeline) RoundTrip(r *http.Request) (*http.Response, error) {
	fatal, dead := l.count(r)
	if dead {
		return nil, errDead
	}
	if fatal && !l.crash.After {
		l.end("before " + kind(r))
		return nil, errDead
	}
	answer, err := l.next.RoundTrip(r)
	if fatal {
		l.end("after " + kind(r))
	}
	if err == nil && l.isDead() {
		_, _ = io.Copy(io.Discard, answer.Body) // nobody reads it any more
		_ = answer.Body.Close()
		return nil, errDead
	}
	return answer, err
}

// count counts a write and reports whether it is the last.
func (l *lifeline) count(r *http.Request) (fatal, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return false, true
	}
	if r.Method == http.MethodGet {
		return false, false
	}
	l.writes++
	return l.writes == l.crash.Write, false
}

func (l *lifeline) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *lifeline) end(where string) {
	l.mu.Lock()
	l.dead = true
	l.mu.Unlock()
	l.die(where)
}

// kind names a write by its verb and what is written, as in "POST pods/eviction".
func kind(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for i, part := range parts {
		if part == "namespaces" && i+2 < len(parts) {
			what := parts[i+2]
			if i+4 < len(parts) {
				what += "/" + parts[i+4]
			}
			return r.Method + " " + what
		}
	}
	return r.Method + " " + r.URL.Path
}
