package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// patience is how long anything may take that takes a second on an idle machine.
const patience = time.Minute

// kubeconfig writes a client configuration and returns its variable.
func kubeconfig(t *testing.T, text []byte) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"KUBECONFIG=" + path}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// agentArgs is a command line with all that an agent needs.
func agentArgs(t *testing.T) []string {
	t.Helper()
	worker := workerPath(t)
	return []string{
		"agent", "--node-name", "n1", "--namespace", "default", "--worker-path", worker, "--backend-path", filepath.Join(filepath.Dir(worker), "mountwarden-backend"),
	}
}

// get returns what a URL answers, with "" for no answer yet.
func get(t *testing.T, url string) string {
	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return ""
	}
	return string(body)
}

// eventually waits for a condition while the process runs.
func eventually(t *testing.T, p *process, what string, condition func() bool) {
	t.Helper()
	deadline, again := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for !condition() {
		select {
		case <-deadline:
			_ = p.Process.Kill()
			_ = p.Wait()
			t.Fatalf("not within %s: %s\n%s", patience, what, p.stderr.String())
		case <-again.C:
		}
	}
}

// stop asks the process to end and returns its exit code.
func stop(t *testing.T, p *process) int {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return p.code(t, p.Wait())
}

// The whole agent on a real API server: it starts, is healthy and ready, shows metrics, and stops
// on a signal.
func TestAgentOnAnAPIServer(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("needs a real API server: set KUBEBUILDER_ASSETS to the folder of etcd and kube-apiserver, as make test does")
	}
	env := &envtest.Environment{ControlPlaneStartTimeout: 3 * time.Minute}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	as := func(name string, groups ...string) []string {
		user, err := env.AddUser(envtest.User{Name: name, Groups: groups}, config)
		if err != nil {
			t.Fatal(err)
		}
		text, err := user.KubeConfig()
		if err != nil {
			t.Fatal(err)
		}
		return kubeconfig(t, text)
	}
	t.Run("runs until it is told to stop", func(t *testing.T) { agentRuns(t, as("admin", "system:masters")) })
	t.Run("lacks a capability", func(t *testing.T) { agentWithoutKill(t, as("admin-three", "system:masters")) })
	t.Run("guards its metrics", func(t *testing.T) { agentGuardsMetrics(t, as("admin-four", "system:masters"), config) })
	t.Run("withstands floods", func(t *testing.T) { agentWithstandsFloods(t, as("admin-five", "system:masters")) })
	t.Run("lacks its worker", func(t *testing.T) {
		p := command(t, as("admin-too", "system:masters"), append(agentArgs(t), "--worker-path", "/nowhere")...)
		if code := p.code(t, p.Run()); code != 1 || !strings.Contains(p.stderr.String(), "worker /nowhere") {
			t.Errorf("exit code %d: %s", code, p.stderr.String())
		}
	})
	t.Run("lacks permissions", func(t *testing.T) {
		p := command(t, as("nobody"), agentArgs(t)...)
		if code := p.code(t, p.Run()); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		for _, permission := range []string{"get pods", "watch pods", "create pods/eviction", "delete pods", "create events.events.k8s.io"} {
			if !strings.Contains(p.stderr.String(), `"`+permission+`"`) {
				t.Errorf("does not name %q:\n%s", permission, p.stderr.String())
			}
		}
	})
}

func agentRuns(t *testing.T, env []string) {
	metrics, health, status := freeAddress(t), freeAddress(t), freeAddress(t)
	p := command(t, env, append(agentArgs(t), "--metrics-bind-address", metrics, "--health-probe-bind-address", health, "--status-bind-address", status)...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "it is ready", func() bool { return get(t, "http://"+health+"/readyz") == "ok" })
	if got := get(t, "http://"+health+"/healthz"); got != "ok" {
		t.Errorf("/healthz: %q", got)
	}
	text := get(t, "http://"+metrics+"/metrics")
	for _, series := range []string{"mountwarden_build_info{kernel=", "mountwarden_pods_watched 0", "mountwarden_workers 0", "mountwarden_probes_parked 0"} {
		if !strings.Contains(text, "\n"+series) {
			t.Errorf("/metrics does not show %s", series)
		}
	}
	if page := get(t, "http://"+status+"/statusz"); !strings.Contains(page, "Node n1: nothing is watched.") {
		t.Errorf("/statusz: %q", page)
	}
	if shown, errs, code := run(t, "status", "--status-bind-address", status); code != 0 || !strings.Contains(shown, "fuse-daemon") {
		t.Errorf("status: exit code %d, %s%s", code, shown, errs)
	}
	if code := stop(t, p); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	for line := range strings.Lines(p.stderr.String()) {
		if !strings.HasPrefix(line, "{") || strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("log: %s", line)
		}
	}
	if !strings.Contains(p.stderr.String(), `"msg":"Stopped"`) {
		t.Errorf("no word of the end:\n%s", p.stderr.String())
	}
}

// agentWithoutKill has a capability taken from an agent: it works, says what it cannot judge, and
// shows it.
func agentWithoutKill(t *testing.T, env []string) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("takes root, and setpriv of util-linux, to take a capability away")
	}
	metrics, health := freeAddress(t), freeAddress(t)
	p := command(t, env, append(agentArgs(t), "--metrics-bind-address", metrics, "--health-probe-bind-address", health)...)
	p.Args = append([]string{setpriv, "--bounding-set=-kill", p.Path}, p.Args[1:]...)
	p.Path = setpriv
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "it is ready", func() bool { return get(t, "http://"+health+"/readyz") == "ok" })
	text := get(t, "http://"+metrics+"/metrics")
	for _, series := range []string{`mountwarden_capability_available{capability="KILL"} 0`, `mountwarden_capability_available{capability="SYS_PTRACE"} 1`} {
		if !strings.Contains(text, "\n"+series+"\n") {
			t.Errorf("/metrics does not show %s", series)
		}
	}
	if code := stop(t, p); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	var missing []string
	for line := range strings.Lines(p.stderr.String()) {
		if strings.Contains(line, `"msg":"Capability missing"`) {
			missing = append(missing, line)
		}
	}
	if len(missing) != 1 || !strings.Contains(missing[0], `"capability":"KILL","detail":"cannot be judged without it: a FUSE`) {
		t.Errorf("told of %q, want of KILL alone", missing)
	}
}

// An API server that is away when a node starts is waited for.
func TestAgentWaitsForTheAPIServer(t *testing.T) {
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
clusters: [{name: c, cluster: {server: "http://%s"}}], users: [{name: u, user: {}}]}`, freeAddress(t))
	log := filepath.Join(t.TempDir(), "log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := command(t, kubeconfig(t, []byte(text)), append(agentArgs(t), "--log-format", "text")...)
	p.Stderr = file
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "it says that it waits", func() bool {
		said, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(said), `msg="Waiting for the API server"`)
	})
	if code := stop(t, p); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

func TestAgentWithoutACluster(t *testing.T) {
	p := command(t, []string{"KUBECONFIG=/nowhere"}, agentArgs(t)...)
	if code := p.code(t, p.Run()); code != 1 || !strings.Contains(p.stderr.String(), "KUBECONFIG") {
		t.Errorf("exit code %d: %s", code, p.stderr.String())
	}
}
