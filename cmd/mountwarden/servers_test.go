package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mountwarden/mountwarden/config"
)

// runAll runs what the manager would run, until the test ends.
func runAll(t *testing.T, all ...manager.Runnable) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, r := range all {
		running.Go(func() {
			if err := r.Start(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// serveEndpoint serves an endpoint and returns its address.
func serveEndpoint(t *testing.T, e endpoint) string {
	t.Helper()
	server, err := newServer(t.Context(), logr.Discard(), e)
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, server)
	return server.Listener.Addr().String()
}

func TestHealth(t *testing.T) {
	failing := func(*http.Request) error { return errors.New("too late") }
	cfg := config.Config{HealthProbeBindAddress: "127.0.0.1:0"}
	address := serveEndpoint(t, newHealthEndpoint(cfg, map[string]healthz.Checker{"loop": healthz.Ping}, map[string]healthz.Checker{"probes": failing}))
	for _, tc := range []struct {
		path   string
		status int
		text   string
	}{
		{"/healthz", 200, "ok"},
		{"/healthz/", 200, "ok"},
		{"/healthz/loop", 200, "ok"},
		{"/healthz?verbose", 200, "[+]loop ok\nhealthz check passed\n"},
		{"/healthz/probes", 404, "404 page not found\n"},
		{"/readyz", 500, "[-]probes failed: reason withheld\nhealthz check failed\n"},
		{"/readyz/probes", 500, "internal server error: too late\n"},
		{"/readyz?exclude=probes", 200, "ok"},
		{"/", 404, "404 page not found\n"},
		{"/metrics", 404, "404 page not found\n"},
	} {
		if status, _, text := read(t, http.DefaultClient, "http://"+address+tc.path, "unused"); status != tc.status || text != tc.text {
			t.Errorf("%s: status %d, %q; want %d, %q", tc.path, status, text, tc.status, tc.text)
		}
	}
}

// A certificate that replaces another is shown without a restart, as the kubelet replaces a Secret:
// by renaming a symbolic link.
func TestCertificateIsReplaced(t *testing.T) {
	first, old := certificates(t)
	second, renewed := certificates(t)
	shown := t.TempDir()
	link := func(to string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(shown, "..new")), os.Rename(filepath.Join(shown, "..new"), filepath.Join(shown, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	link(first)
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(shown, name)); err != nil {
			t.Fatal(err)
		}
	}
	secure, watcher, err := newMetricsTLS(shown)
	if err != nil {
		t.Fatal(err)
	}
	address := serveEndpoint(t, newMetricsEndpoint(config.Config{MetricsBindAddress: "127.0.0.1:0"}, http.NotFoundHandler(), secure))
	runAll(t, watcher.WithWatchInterval(50*time.Millisecond))
	is := func(client *http.Client) bool {
		client.CloseIdleConnections()
		status, _, _ := read(t, client, "https://"+address, "unused")
		return status == http.StatusNotFound
	}
	if !is(old) || is(renewed) {
		t.Error("the first certificate is not shown")
	}
	link(second)
	deadline, again := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for !is(renewed) {
		select {
		case <-deadline:
			t.Fatal("the new certificate is not shown")
		case <-again.C:
		}
	}
}

// An address that is taken ends the agent, and the error says which setting has it.
func TestAddressIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	cfg := config.Config{MetricsBindAddress: address, HealthProbeBindAddress: address}
	for setting, e := range map[string]endpoint{
		"metricsBindAddress":     newMetricsEndpoint(cfg, http.NotFoundHandler(), nil),
		"healthProbeBindAddress": newHealthEndpoint(cfg, nil, nil),
	} {
		if _, err := newServer(t.Context(), logr.Discard(), e); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s %q", setting, address)) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

// Metrics are read by HTTP/1.1 alone, whatever the client offers.
func TestMetricsLeaveHTTP2Out(t *testing.T) {
	secure, _, err := newMetricsTLS("")
	if err != nil {
		t.Fatal(err)
	}
	address := serveEndpoint(t, newMetricsEndpoint(config.Config{MetricsBindAddress: "127.0.0.1:0"}, http.NotFoundHandler(), secure))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true} //nolint:gosec // signed by nobody
	defer transport.CloseIdleConnections()
	if status, protocol, text := read(t, &http.Client{Transport: transport}, "https://"+address+"/", "unused"); status != http.StatusNotFound || protocol != "HTTP/1.1" {
		t.Errorf("%d by %q: %s", status, protocol, text)
	}
}

// floods is how many connections an attacker opens to each server.
const floods = 150

// agentWithstandsFloods has one client leave requests of 1 MiB unfinished at both ports of an
// agent, which goes on to answer the kubelet and a scraper every time, in little memory.
func agentWithstandsFloods(t *testing.T, env []string) {
	metrics, health := freeAddress(t), freeAddress(t)
	p := command(t, env, append(agentArgs(t), "--metrics-bind-address", metrics, "--health-probe-bind-address", health, "--status-bind-address", "0")...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "it is ready", func() bool { return get(t, "http://"+health+"/readyz") == "ok" })
	if text := get(t, "http://"+metrics+"/metrics"); text == "" {
		t.Error("no metrics before the flood")
	}
	before := memoryOf(t, p, "VmRSS")
	header := "GET /metrics HTTP/1.1\r\nHost: node\r\n" + strings.Repeat("X: "+strings.Repeat("a", 60000)+"\r\n", 17)
	texts := []string{header, header[:11<<10]} // too long, and as long as the agent puts up with
	var writers sync.WaitGroup
	var conns []net.Conn
	for i := range floods {
		for _, address := range []string{metrics, health} {
			conn, err := net.DialTimeout("tcp", address, patience)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			text := texts[i%2]
			writers.Go(func() { _, _ = io.WriteString(conn, text) }) // fails when the agent has enough
		}
		if i%10 == 9 {
			if text := get(t, "http://"+health+"/healthz"); text != "ok" {
				t.Errorf("after %d connections /healthz is %q", i+1, text)
			}
			if text := get(t, "http://"+metrics+"/metrics"); !strings.Contains(text, "\nmountwarden_pods_watched 0\n") {
				t.Errorf("after %d connections the metrics are %q", i+1, text)
			}
		}
	}
	if most := memoryOf(t, p, "VmHWM"); most-before > 128<<10 {
		t.Errorf("from %d to %d KiB for %d connections", before, most, 2*floods)
	} else {
		t.Logf("from %d to %d KiB for %d connections", before, most, 2*floods)
	}
	if n := socketsOf(t, p); n > 2*(64+32)+10 {
		t.Errorf("%d sockets for %d connections", n, 2*floods)
	}
	for _, conn := range conns {
		conn.Close()
	}
	writers.Wait()
	if code := stop(t, p); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %s", code, p.stderr.String())
	}
}

// memoryOf returns a line of proc_pid_status(5), in KiB.
func memoryOf(t *testing.T, p *process, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+name+":")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func socketsOf(t *testing.T, p *process) int {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
