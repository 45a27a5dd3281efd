package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds waits that end at once on an idle machine.
const patience = 30 * time.Second

// output is a writer that tells what was written, from any goroutine.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// begin makes an attack, waits until it is under way, and returns what ends it and asserts that it
// ended well.
func begin(t *testing.T, args ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out output
	done := make(chan error, 1)
	go func() { done <- run(ctx, args, &out) }()
	eventually(t, "the attack is under way", func() bool {
		select {
		case err := <-done:
			t.Fatalf("the attack ended with %v, having said %q", err, out.String())
		default:
		}
		return strings.Contains(out.String(), UnderWay)
	})
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	end, tick := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-end:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"", "http", "sing /a", "fill /a /b", "memory"} {
		if err := run(t.Context(), strings.Fields(args), os.Stderr); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v, want an errUsage", args, err)
		}
	}
}

// A server with Go's defaults keeps every connection, and none of its requests is ever one.
func TestHoldConnections(t *testing.T) {
	open := map[any]http.ConnState{}
	var mu sync.Mutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request is complete") }))
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		open[c] = state
		if state == http.StateClosed {
			delete(open, c)
		}
	}
	server.Start()
	defer server.Close()
	end := begin(t, "http", server.Listener.Addr().String())
	mu.Lock()
	if len(open) != connections {
		t.Errorf("%d connections are open, want %d", len(open), connections)
	}
	mu.Unlock()
	end()
	eventually(t, "no connection is left", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(open) == 0
	})
}

// As long as its files answer the attack waits for nothing.
func TestBlockSets(t *testing.T) {
	dir := t.TempDir()
	begin(t, "freeze", filepath.Join(dir, "set"))()
	files, err := filepath.Glob(filepath.Join(dir, "set-*"))
	if err != nil || len(files) != sets {
		t.Errorf("files %v (%v), want %d", files, err, sets)
	}
}
