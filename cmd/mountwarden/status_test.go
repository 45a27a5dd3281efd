package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

// serve serves an answer at a loopback address and returns that.
func serve(t *testing.T, answer http.Handler) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// oneOfEverything is a node with one of everything.
func oneOfEverything(t *testing.T) (s status.Snapshot) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "controllers", "status", "testdata", "node.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func agentOf(t *testing.T, s status.Snapshot) string {
	t.Helper()
	return serve(t, web.NewHandler(func() status.Snapshot { return s }))
}

func TestStatus(t *testing.T) {
	address := agentOf(t, oneOfEverything(t))
	for _, tc := range []struct {
		args      string
		with      []string
		without   []string
		code      int
		complains string
	}{
		{"", []string{"Node node-1: 12 mounts", "held", "hung", "NoFreshMount", "Healed", "fuse-daemon"}, nil, 0, ""},
		{"-A", []string{"held", "hung"}, nil, 0, ""},
		{"--output text", []string{"held", "hung"}, nil, 0, ""},
		{"-n db", []string{"hung", "once-more", "Node node-1: 12 mounts"}, []string{"settling", "web-1"}, 0, ""},
		{"--pod hung", []string{"hung", "none for 20s"}, []string{"once-more"}, 0, ""},
		{"--pod db/hung", []string{"hung"}, []string{"once-more"}, 0, ""},
		{"-n db --pod hung", []string{"hung"}, []string{"once-more"}, 0, ""},
		{"-n db --pod db/hung", []string{"hung"}, nil, 0, ""},
		{"--pod starting", []string{"starting", "look for the first time"}, nil, 0, ""},
		{"-n nowhere", []string{"Nothing that is watched matches"}, []string{"NAMESPACE"}, 0, ""},
		{"--pod shop/hung", []string{"Nothing that is watched matches"}, nil, 1, `"shop/hung"`},
		{"--pod nobody -o json", []string{`"pods": []`}, nil, 1, `no watched pod of this node is named "nobody"`},
	} {
		stdout, stderr, code := run(t, append([]string{"status", "--status-bind-address", address}, strings.Fields(tc.args)...)...)
		if code != tc.code || !strings.Contains(stderr, tc.complains) || tc.complains == "" && stderr != "" {
			t.Errorf("status %s: exit code %d, %q", tc.args, code, stderr)
		}
		for _, word := range tc.with {
			if !strings.Contains(stdout, word) {
				t.Errorf("status %s does not show %q:\n%s", tc.args, word, stdout)
			}
		}
		for _, word := range tc.without {
			if strings.Contains(stdout, word) {
				t.Errorf("status %s shows %q:\n%s", tc.args, word, stdout)
			}
		}
	}
}

func TestStatusAsJSON(t *testing.T) {
	want := oneOfEverything(t)
	stdout, stderr, code := run(t, "status", "-o", "json", "--status-bind-address", agentOf(t, want))
	var got status.Snapshot
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("%v, exit code %d, %s", err, code, stderr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusOfNothing(t *testing.T) {
	s := oneOfEverything(t)
	s.Pods, s.Summary = []status.Pod{}, status.Summary{}
	stdout, _, code := run(t, "status", "--status-bind-address", agentOf(t, s))
	if code != 0 || !strings.Contains(stdout, "nothing is watched") || !strings.Contains(stdout, `mountwarden.io/watch: "true"`) {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
}

// The agent is found by the settings that tell it where to listen: flag over environment over file.
func TestStatusFindsTheAgent(t *testing.T) {
	address := agentOf(t, oneOfEverything(t))
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "dryRun: true\nnamespace: elsewhere\nstatusBindAddress: " + address + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env  string
		args []string
	}{
		"file":        {"", []string{"--config", file}},
		"environment": {"MOUNTWARDEN_STATUS_BIND_ADDRESS=" + address, nil},
		"both":        {"MOUNTWARDEN_STATUS_BIND_ADDRESS=" + address, []string{"--config", file}},
		"flag":        {"MOUNTWARDEN_STATUS_BIND_ADDRESS=127.0.0.1:1", []string{"--status-bind-address", address}},
		"a proxy":     {"HTTP_PROXY=http://127.0.0.1:1", []string{"--config", file}},
	} {
		p := command(t, []string{tc.env}, append([]string{"status"}, tc.args...)...)
		if code := p.code(t, p.Run()); code != 0 || !strings.Contains(p.stdout.String(), "Node node-1") {
			t.Errorf("by %s: exit code %d: %s", name, code, p.stderr.String())
		}
	}
}

func TestStatusWithoutAnAgent(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	text := func(body string) string {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	}
	for name, tc := range map[string]struct {
		address string
		words   []string
	}{
		"off":            {"0", []string{"statusBindAddress is 0", "127.0.0.1:8082"}},
		"nobody there":   {nobody, []string{nobody, "in the agent's container", "statusBindAddress", "API server"}},
		"another server": {serve(t, http.NotFoundHandler()), []string{"404", "is it the agent's?"}},
		"no JSON":        {text("<html>"), []string{"no status of an agent"}},
		"other JSON":     {text(`{"status": "UP"}`), []string{"no status of an agent", "statusBindAddress"}},
	} {
		stdout, stderr, code := run(t, "status", "--status-bind-address", tc.address)
		if code != 3 || stdout != "" {
			t.Errorf("%s: exit code %d, shows %q", name, code, stdout)
		}
		for _, word := range tc.words {
			if !strings.Contains(stderr, word) {
				t.Errorf("%s: does not say %q: %s", name, word, stderr)
			}
		}
	}
}
