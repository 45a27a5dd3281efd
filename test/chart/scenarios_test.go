package chart

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/internal/helm"
)

// scenarios are the values files that also tools for charts look for, by name.
func scenarios(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%v, %d scenarios", err, len(files))
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	return all
}

// Each scenario passes helm's linter, renders to its golden file, is known to Kubernetes field by field, and asks for no more than it should.
// The golden file of the defaults is whole; any other holds what is different.
func TestScenarios(t *testing.T) {
	defaults, err := template(t)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range scenarios(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := helm.Run(t, "lint", "--strict", chartDir, "--namespace", namespace, "--values", file); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			text, err := helm.Run(t, "template", "mountwarden", chartDir, "--namespace", namespace, "--values", file)
			if err != nil {
				t.Fatal(err)
			}
			shown := text
			if name != "default" {
				shown = difference(defaults, text)
			}
			golden(t, filepath.Join("testdata", name+".yaml"), shown)
			o := decode(t, text)
			everyObject(t, o, name == "extras")
			noMoreThanNeeded(t, o, name == "privileged")
			if c := load(t, o); c.DryRun != (name == "dry-run") {
				t.Errorf("dryRun is %t", c.DryRun)
			}
		})
	}
}

// documents splits what helm has rendered by the template and the name of each object.
func documents(text string) (ids []string, texts map[string]string) {
	texts = map[string]string{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		source, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(document), "# Source: mountwarden/templates/"), "\n")
		_, kind, _ := strings.Cut(rest, "kind: ")
		_, name, _ := strings.Cut(rest, "\n  name: ")
		kind, _, _ = strings.Cut(kind, "\n")
		name, _, _ = strings.Cut(name, "\n")
		id := source + ": " + kind + " " + name
		if kind != "" && texts[id] == "" {
			ids = append(ids, id)
			texts[id] = strings.TrimSpace(document)
		}
	}
	return ids, texts
}

// difference is what a text renders otherwise than the defaults, and what it leaves out.
func difference(defaults, text string) string {
	was, before := documents(defaults)
	is, after := documents(text)
	var b strings.Builder
	for _, id := range was {
		if after[id] == "" {
			fmt.Fprintf(&b, "# Left out: %s\n", id)
		}
	}
	for _, id := range is {
		if after[id] != before[id] {
			fmt.Fprintf(&b, "---\n%s\n", after[id])
		}
	}
	return b.String()
}

func TestNoGoldenFileIsLeftOver(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if scenarios(t)[strings.TrimSuffix(filepath.Base(file), ".yaml")] == "" {
			t.Errorf("%s is of no scenario", file)
		}
	}
}

// everyObject asserts what holds for all objects: who made it, and in extras the labels and annotations of everything.
func everyObject(t *testing.T, o objects, extras bool) {
	t.Helper()
	for _, object := range slices.Concat(o.installed, o.hooks) {
		labels := object.GetLabels()
		ours := labels["app.kubernetes.io/instance"] == "mountwarden"
		if !ours && (!extras || !isExtra(object)) {
			t.Errorf("%T %s lacks the label of its release: %v", object, object.GetName(), labels)
		}
		if extras && ours && (labels["team"] != "storage" || object.GetAnnotations()["example.com/owner"] != "storage") {
			t.Errorf("%T %s lacks what is common: %v %v", object, object.GetName(), labels, object.GetAnnotations())
		}
	}
}

// isExtra recognises the extraObjects.
func isExtra(object client.Object) bool {
	_, quota := object.(*corev1.ResourceQuota)
	return quota || strings.HasSuffix(object.GetName(), "-note")
}

// noMoreThanNeeded is the policy for whatever the chart renders.
func noMoreThanNeeded(t *testing.T, o objects, privileged bool) {
	t.Helper()
	bounded(t, o.daemonSet(t).Spec.Template.Spec, privileged)
	for _, pod := range every[*corev1.Pod](o.hooks) {
		bounded(t, pod.Spec, false)
		if pod.Spec.HostPID {
			t.Errorf("%s sees the host's processes", pod.Name)
		}
	}
	var rules []rbacv1.PolicyRule
	for _, role := range every[*rbacv1.ClusterRole](o.installed) {
		rules = append(rules, role.Rules...)
	}
	for _, role := range every[*rbacv1.Role](slices.Concat(o.installed, o.hooks)) {
		rules = append(rules, role.Rules...)
	}
	for _, rule := range rules {
		all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs)
		for _, never := range []string{"*", "secrets", "configmaps", "pods/exec", "nodes/status", "deletecollection", "impersonate", "escalate", "bind"} {
			if slices.Contains(all, never) {
				t.Errorf("rule %+v", rule)
			}
		}
		if len(rule.NonResourceURLs) > 0 && !cmp.Equal(rule, rbacv1.PolicyRule{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}) { // the readers'
			t.Errorf("rule %+v", rule)
		}
	}
}

func bounded(t *testing.T, pod corev1.PodSpec, privileged bool) {
	t.Helper()
	if pod.HostNetwork || pod.HostIPC {
		t.Error("a pod has the host's network or IPC")
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil || v.Secret != nil && v.Name != "metrics-certificate" {
			t.Errorf("volume %s is the host's, or a Secret", v.Name)
		}
	}
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("container %s is not bounded: %+v", c.Name, c.Resources)
		}
		s := c.SecurityContext
		if s == nil || (s.Privileged != nil && *s.Privileged) != privileged || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("container %s: %+v", c.Name, s)
		}
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				t.Errorf("container %s takes port %d of the host", c.Name, p.HostPort)
			}
		}
	}
}

// load reads the agent's file as the agent does, its own arguments included.
func load(t *testing.T, o objects) config.Config {
	t.Helper()
	agent, pod := o.agent(t), o.daemonSet(t).Spec.Template
	item := pod.Spec.Volumes[0].DownwardAPI.Items[0]
	key := strings.TrimSuffix(strings.TrimPrefix(item.FieldRef.FieldPath, "metadata.annotations['"), "']")
	text := pod.Annotations[key]
	path := filepath.Join(t.TempDir(), item.Path)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(append([]string{"--config", path}, agent.Args[3:]...)); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"NODE_NAME": "node-1", "POD_NAMESPACE": namespace}
	c, warnings, err := config.Load(flags, func(name string) (string, bool) { value, set := variables[name]; return value, set })
	if err != nil || warnings != nil {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// The configuration is a part of the DaemonSet's revision: neither a rollback nor an agent that is not replaced yet gets another version's.
func TestConfigLoadsToTheDefaults(t *testing.T) {
	want := config.Default()
	want.NodeName, want.Namespace = "node-1", namespace
	if diff := cmp.Diff(want, load(t, render(t))); diff != "" {
		t.Errorf("the chart's defaults are not the agent's (-agent +chart):\n%s", diff)
	}
}

// decided says which keys the image or the downward API decides, so that they are no values.
func decided(key string) bool {
	return slices.Contains([]string{"nodeName", "namespace", "procRoot", "workerPath", "backendPath"}, key)
}

// Every key of the configuration is a value, and its change arrives.
func TestEveryKeyCanBeSet(t *testing.T) {
	var set []string
	for _, key := range config.Keys() {
		value := map[string]string{
			"dryRun": "true", "events": "false", "metricsBindAddress": ":9999", "metricsSecure": "true", "metricsCertDir": "/tls", "healthProbeBindAddress": ":9998", "statusBindAddress": "127.0.0.1:9997", "logFormat": "text", "checkBackends": "false",
			"abortStuckFUSE": "true", "followUpSeconds": "77", "backoff.maxSeconds": "700", "defaults.mode": "Report", "defaults.action": "Delete", "defaults.hangSeconds": "50",
			"limits.allowUnmanaged": "false", "limits.namespaceSelector": "team", "limits.allowedActions": "{Delete}",
		}[key]
		if value == "" {
			value = "7" // no default is 7
		}
		if !decided(key) {
			set = append(set, "config."+key+"="+value)
		}
	}
	before, after := flat(t, load(t, render(t))), flat(t, load(t, render(t, set...)))
	for _, key := range config.Keys() {
		if (before[key] == after[key]) != decided(key) {
			t.Errorf("config.%s was %s and is %s", key, before[key], after[key])
		}
	}
}

// flat are the settings by the keys of the file.
func flat(t *testing.T, c config.Config) map[string]string {
	t.Helper()
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var sections map[string]any
	if err := yaml.Unmarshal(text, &sections); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for key, value := range sections {
		section, ok := value.(map[string]any)
		if !ok {
			section = map[string]any{"": value}
		}
		for rest, value := range section {
			all[strings.TrimSuffix(key+"."+rest, ".")] = fmt.Sprint(value)
		}
	}
	return all
}

func TestExtras(t *testing.T) {
	text, err := helm.Run(t, "template", "mountwarden", chartDir, "--namespace", namespace, "--values", scenarios(t)["extras"])
	if err != nil {
		t.Fatal(err)
	}
	o := decode(t, text)
	agent, pod := o.agent(t), o.daemonSet(t).Spec.Template
	if got := strings.Join(agent.Args, " "); got != "agent --config /etc/mountwarden/config.yaml --log-level=1" {
		t.Errorf("runs %s", got)
	}
	if got := agent.Env[len(agent.Env)-1]; got.Name != "GOMEMLIMIT" || got.Value != "200MiB" {
		t.Errorf("environment %+v", agent.Env)
	}
	if len(pod.Spec.Volumes) != 2 || len(agent.VolumeMounts) != 2 || agent.VolumeMounts[1].MountPath != "/tmp" {
		t.Errorf("volumes %+v, mounts %+v", pod.Spec.Volumes, agent.VolumeMounts)
	}
	if pod.Labels["team"] != "storage" || pod.Labels["tier"] != "node" || pod.Annotations["example.com/scrape"] != "true" {
		t.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
	}
	quota := only[*corev1.ResourceQuota](t, o.installed)
	if quota == nil || quota.Name != "warden" || quota.Spec.ScopeSelector.MatchExpressions[0].Values[0] != "system-node-critical" {
		t.Errorf("the template in an extra object was not filled in: %+v", quota)
	}
}
