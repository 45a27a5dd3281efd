package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What agents finds is tested by its package; here it is the command line, the exit codes and the
// table.
func TestAgentsUsage(t *testing.T) {
	for line, want := range map[string]string{
		"--namespace=":           "must not be empty",
		"--daemonset=":           "must not be empty",
		"--timeout=0s":           "--timeout is 0s",
		"--wait=-1s":             "--wait is -1s",
		"--wait=soon":            "--wait",
		"mountwarden-abc":        "mountwarden-abc",
		"--nosuch":               "--nosuch",
		"--timeout=5s surplus":   "surplus",
		"--output=json":          "--output",
		"--namespace=a --wait=1": "--wait",
	} {
		p := command(t, nil, append([]string{"agents"}, strings.Fields(line)...)...)
		if code := p.code(t, p.Run()); code != 2 || !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%s: exit code %d, %s", line, code, p.stderr.String())
		}
	}
}

// apiServer answers for a DaemonSet that wants one agent, with the pods that are given as JSON.
func apiServer(t *testing.T, pods string) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := `{"kind": "PodList", "apiVersion": "v1", "items": [` + pods + `]}`
		if strings.HasSuffix(r.URL.Path, "/daemonsets/mountwarden") {
			answer = `{"kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": {"name": "mountwarden", "namespace": "mountwarden", "uid": "1"},
				"spec": {"selector": {"matchLabels": {"a": "b"}}}, "status": {"desiredNumberScheduled": 1}}`
		}
		if _, err := w.Write([]byte(answer)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return kubeconfig(t, []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "`+server.URL+`"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}]}`))
}

func TestAgentsTellsAndExits(t *testing.T) {
	const pod = `{"metadata": {"name": "agent-x", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "mountwarden", "uid": "1", "controller": true}]},
		"spec": {"nodeName": "n1", "containers": [{"name": "agent", "ports": [{"name": "health", "containerPort": PORT}]}]}, "status": {"podIP": "127.0.0.1"}}`
	healthy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(healthy.Close)
	sick := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(sick.Close)
	at := func(server *httptest.Server) string {
		return strings.ReplaceAll(pod, "PORT", server.URL[strings.LastIndex(server.URL, ":")+1:])
	}
	for name, tc := range map[string]struct {
		pods           string
		code           int
		stdout, stderr string
	}{
		"healthy": {at(healthy), 0, "n1    agent-x  healthy\n", ""},
		"sick":    {at(sick), 1, "n1    agent-x  unhealthy: http://127.0.0.1:", "not every agent is healthy: 0 of 1"},
		"missing": {"", 1, "NODE  AGENT  STATE", "0 of 1 nodes have one"},
	} {
		p := command(t, apiServer(t, tc.pods), "agents", "--wait=10ms")
		if code := p.code(t, p.Run()); code != tc.code {
			t.Errorf("%s: exit code %d, want %d", name, code, tc.code)
		}
		if !strings.Contains(p.stdout.String(), tc.stdout) || !strings.Contains(p.stderr.String(), tc.stderr) || (tc.stderr == "") != (p.stderr.Len() == 0) {
			t.Errorf("%s: %s\n%s", name, p.stdout.String(), p.stderr.String())
		}
	}
}

func TestAgentsCannotTell(t *testing.T) {
	nowhere := kubeconfig(t, []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
		"contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}]}`))
	p := command(t, nowhere, "agents")
	if code := p.code(t, p.Run()); code != 3 || !strings.Contains(p.stderr.String(), "DaemonSet mountwarden/mountwarden") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}
