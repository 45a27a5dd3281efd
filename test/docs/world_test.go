package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
	"github.com/mountwarden/mountwarden/test/internal/tool"
)

// world is what commands of the documentation meet: an API server on which the chart is installed, with an agent and a workload that
// nobody runs.
type world struct {
	api          *apiserver.Server
	programs     map[string]string // paths of etcd, kubectl and the like
	binary       string            // mountwarden
	home         string            // of helm
	values       map[string]bool   // the chart's topmost values
	examples     map[string]string
	linked       map[string][]string // the examples that each section of the recipes leads to
	placeholders map[string]string   // what words in capitals stand for
	done         map[string]bool     // commands that were run
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		programs: map[string]string{}, home: t.TempDir(), values: map[string]bool{}, examples: examples(t), linked: map[string][]string{}, done: map[string]bool{},
		placeholders: map[string]string{
			"NAMESPACE": "shop", "NAME": "shop", "POD": "web-1", "AGENT-POD": "mountwarden-agent", "NODE": "node-1", "OWNER": "storefront", "LEASE": "mountwarden-replicaset-web",
			"SETUID": "SETUID", "SETGID": "SETGID", "KILL": "KILL", "REGISTRY": "registry.example.com",
			"TAG": "v1", "VERSION": "VERSION", "FILE": "FILE", "PATH": "/data",
		},
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl", "helm"} {
		path, err := tool.Path(t.Context(), name)
		must(t, err)
		w.programs[name] = path
	}
	w.build(t)
	w.readChart(t)
	w.readRecipes(t)
	api, err := apiserver.Start(t.Context(), apiserver.Options{
		Etcd: w.programs["etcd"], APIServer: w.programs["kube-apiserver"], Dir: t.TempDir(), Arguments: []string{"--allow-privileged"},
	})
	must(t, err)
	t.Cleanup(api.Stop)
	w.api = api
	w.populate(t)
	return w
}

func (w *world) build(t *testing.T) {
	t.Helper()
	w.binary = filepath.Join(t.TempDir(), "mountwarden")
	_, err := w.run("go", "", "build", "-o", w.binary, "github.com/mountwarden/mountwarden/cmd/mountwarden")
	must(t, err)
}

func (w *world) readChart(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "charts", "mountwarden", "values.yaml"))
	must(t, err)
	values := map[string]any{}
	must(t, yaml.Unmarshal(text, &values))
	for key := range values {
		w.values[key] = true
	}
}

func (w *world) readRecipes(t *testing.T) {
	t.Helper()
	for _, p := range pages(t) {
		for _, l := range p.links {
			if name, found := strings.CutPrefix(l.target, "examples/"); found && p.path == "docs/recipes.md" {
				w.linked[l.section] = append(w.linked[l.section], name)
			}
		}
	}
}

// populate installs the chart and makes what the pages speak of.
func (w *world) populate(t *testing.T) {
	t.Helper()
	core := w.api.Client.CoreV1()
	for _, name := range []string{"mountwarden", "shop", "media", "storage", "monitoring"} {
		_, err := core.Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	for _, name := range []string{"node-1", "worker-7"} {
		_, err := core.Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	_, err := w.helm("install", "mountwarden", "charts/mountwarden", "--namespace", "mountwarden")
	must(t, err)
	w.running(t, "mountwarden", "mountwarden-agent", map[string]string{"app.kubernetes.io/name": "mountwarden", "app.kubernetes.io/instance": "mountwarden"})
	w.running(t, "shop", "web-1", map[string]string{"app": "web"})
	_, err = w.kubectl("", "-n", "shop", "create", "deployment", "storefront", "--image=web")
	must(t, err)
	_, err = w.kubectl(monitors, "apply", "-f", "-")
	must(t, err)
	_, err = w.kubectl("", "-n", "monitoring", "create", "serviceaccount", "prometheus-k8s")
	must(t, err)
	for _, name := range []string{"mountwarden-ledger", "mountwarden-replicaset-web"} {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err = w.api.Client.CoordinationV1().Leases("mountwarden").Create(t.Context(), lease, metav1.CreateOptions{})
		must(t, err)
	}
}

// running makes a pod that the API server takes for running, on a node that has no address.
func (w *world) running(t *testing.T, namespace, name string, labels map[string]string) {
	t.Helper()
	pods := w.api.Client.CoreV1().Pods(namespace)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{"mountwarden.io/watch": "true"}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	pod.Status.Phase = corev1.PodRunning
	_, err = pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	must(t, err)
}

// monitors are the kinds of the Prometheus Operator that pages ask for.
const monitors = `{"apiVersion": "v1", "kind": "List", "items": [` +
	`{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "podmonitors.monitoring.coreos.com"}, "spec": {` +
	`"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": "PodMonitor", "plural": "podmonitors"}, ` +
	`"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}, ` +
	`{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "servicemonitors.monitoring.coreos.com"}, "spec": {` +
	`"group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"}, ` +
	`"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}]}`

func (w *world) kubectl(input string, args ...string) (string, error) {
	return w.run(w.programs["kubectl"], input, append([]string{"--kubeconfig", w.api.Kubeconfig}, args...)...)
}

func (w *world) helm(args ...string) (string, error) {
	return w.run(w.programs["helm"], "", append(args, "--kubeconfig", w.api.Kubeconfig)...)
}

// helmWith gives helm values on its standard input.
func (w *world) helmWith(values []byte, args ...string) (string, error) {
	return w.run(w.programs["helm"], string(values), append(args, "--values", "-")...)
}

// run runs a program at the root of the repository, and tells what it complains of.
func (w *world) run(program, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(context.Background(), program, args...) // each ends by itself
	cmd.Dir, cmd.Stdin = root, strings.NewReader(input)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+w.home, "HELM_CONFIG_HOME="+w.home, "HELM_DATA_HOME="+w.home, "KUBE_EDITOR=true")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
