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
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/permissions"
	"github.com/mountwarden/mountwarden/test/internal/helm"
)

func TestLint(t *testing.T) {
	if out, err := helm.Run(t, "lint", "--strict", chartDir); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestContainerIsConfined(t *testing.T) {
	s := render(t).agent(t).SecurityContext
	want := &corev1.SecurityContext{
		Privileged:               new(false),
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		RunAsUser:                new(int64(0)),
		RunAsGroup:               new(int64(0)),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"SYS_PTRACE", "DAC_READ_SEARCH", "SETUID", "SETGID", "KILL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		AppArmorProfile:          &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
		SELinuxOptions:           &corev1.SELinuxOptions{Type: "spc_t"},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("security context (-want +got):\n%s", diff)
	}
}

func TestPrivilegedIsOneValueAway(t *testing.T) {
	s := render(t, "privileged=true").agent(t).SecurityContext
	if s.Privileged == nil || !*s.Privileged || s.AllowPrivilegeEscalation != nil || s.Capabilities != nil {
		t.Errorf("the API server refuses privileged with less than everything: %+v", s)
	}
}

func TestPodReachesTheHostByItsPIDsOnly(t *testing.T) {
	pod := render(t).daemonSet.Spec.Template.Spec
	if !pod.HostPID || pod.HostNetwork || pod.HostIPC {
		t.Errorf("hostPID %v, hostNetwork %v, hostIPC %v", pod.HostPID, pod.HostNetwork, pod.HostIPC)
	}
	for _, v := range pod.Volumes {
		if v.ConfigMap == nil {
			t.Errorf("volume %s is not the configuration", v.Name)
		}
	}
	if pod.AutomountServiceAccountToken == nil || !*pod.AutomountServiceAccountToken {
		t.Error("the agent gets no API token")
	}
	if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
		t.Error("variables of Services could be taken for settings")
	}
}

func TestPodStaysOnEveryNode(t *testing.T) {
	pod := render(t).daemonSet.Spec.Template.Spec
	if diff := cmp.Diff([]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, pod.Tolerations); diff != "" {
		t.Error(diff)
	}
	if pod.PriorityClassName != "system-node-critical" {
		t.Errorf("priority class %q", pod.PriorityClassName)
	}
}

func TestResourcesAreBounded(t *testing.T) {
	r := render(t).agent(t).Resources
	if r.Limits.Memory().String() != "128Mi" || r.Requests.Memory().IsZero() || r.Requests.Cpu().IsZero() {
		t.Errorf("%+v", r)
	}
	if !r.Limits.Cpu().IsZero() {
		t.Error("a CPU limit throttles the looks")
	}
}

func TestContainerStartsTheAgent(t *testing.T) {
	agent := render(t).agent(t)
	if got, want := strings.Join(agent.Args, " "), "agent --config /etc/mountwarden/config.yaml"; got != want || agent.Command != nil {
		t.Errorf("runs %v %q, want the image's entrypoint with %q", agent.Command, got, want)
	}
	for i, want := range []string{"NODE_NAME spec.nodeName", "POD_NAMESPACE metadata.namespace"} {
		if got := agent.Env[i].Name + " " + agent.Env[i].ValueFrom.FieldRef.FieldPath; got != want {
			t.Errorf("environment %s, want %s", got, want)
		}
	}
	if agent.VolumeMounts[0].MountPath != "/etc/mountwarden" || !agent.VolumeMounts[0].ReadOnly {
		t.Errorf("mounts %+v", agent.VolumeMounts)
	}
	for path, probe := range map[string]*corev1.Probe{"/healthz": agent.LivenessProbe, "/readyz": agent.ReadinessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "health" {
			t.Errorf("probe of %s is %+v", path, probe.HTTPGet)
		}
	}
	if s := agent.StartupProbe; s.PeriodSeconds*s.FailureThreshold < 300 {
		t.Error("the agent is killed while it waits for the API server at a node's start")
	}
}

func ports(c corev1.Container) map[string]int32 {
	found := map[string]int32{}
	for _, p := range c.Ports {
		found[p.Name] = p.ContainerPort
		if p.HostPort != 0 {
			found["host"] = p.HostPort
		}
	}
	return found
}

func TestPortsFollowTheConfiguration(t *testing.T) {
	for _, tc := range []struct {
		set  []string
		want map[string]int32
	}{
		{nil, map[string]int32{"metrics": 8080, "health": 8081}},
		{[]string{"config.metricsBindAddress=127.0.0.1:9000", "config.healthProbeBindAddress=:9001"}, map[string]int32{"metrics": 9000, "health": 9001}},
		{[]string{"config.metricsBindAddress=[::]:9000"}, map[string]int32{"metrics": 9000, "health": 8081}},
	} {
		if diff := cmp.Diff(tc.want, ports(render(t, tc.set...).agent(t))); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.set, diff)
		}
	}
	text, err := helm.Run(t, "template", "mountwarden", chartDir, "--set-string", "config.metricsBindAddress=0")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int32{"health": 8081}, ports(decode(t, text).agent(t))); diff != "" {
		t.Errorf("metrics off (-want +got):\n%s", diff)
	}
}

func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for _, tc := range []struct {
		set  []string
		want string
	}{
		{nil, "ghcr.io/mountwarden/mountwarden:0.1.0"},
		{[]string{"image.repository=local/mw", "image.tag=dev"}, "local/mw:dev"},
		{[]string{"image.digest=" + digest}, "ghcr.io/mountwarden/mountwarden@" + digest},
		{[]string{"image.tag=dev", "image.digest=" + digest}, "ghcr.io/mountwarden/mountwarden@" + digest},
	} {
		if got := render(t, tc.set...).agent(t).Image; got != tc.want {
			t.Errorf("%v: image %q, want %q", tc.set, got, tc.want)
		}
	}
}

// granted lists rules, one a verb, as the agent's own check writes them.
func granted(rules []rbacv1.PolicyRule) []string {
	all := []string{}
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				name, sub, _ := strings.Cut(resource, "/")
				all = append(all, permissions.Permission{Group: rule.APIGroups[0], Resource: name, Subresource: sub, Verb: verb}.String())
			}
		}
	}
	slices.Sort(all)
	return all
}

// The roles grant what the agent asks for at its start: nothing less, nothing more.
func TestRolesAreWhatTheAgentNeeds(t *testing.T) {
	for _, dryRun := range []bool{false, true} {
		everywhere, own := []string{}, []string{}
		for _, p := range permissions.Needed(dryRun, "mw") {
			if p.Namespace == "" {
				everywhere = append(everywhere, p.String())
			} else {
				own = append(own, p.String())
			}
		}
		slices.Sort(everywhere)
		slices.Sort(own)
		o := render(t, fmt.Sprint("config.dryRun=", dryRun))
		if diff := cmp.Diff(everywhere, granted(o.role.Rules)); diff != "" {
			t.Errorf("dry run %t (-needed +granted):\n%s", dryRun, diff)
		}
		if diff := cmp.Diff(own, granted(o.ownRules())); diff != "" {
			t.Errorf("dry run %t, in its own namespace (-needed +granted):\n%s", dryRun, diff)
		}
	}
}

// What the policies do is tested by package policy; here it is whom they are about, and that they can be left out.
func TestOwnNodePolicies(t *testing.T) {
	for set, want := range map[string][]string{
		"":                                {"mw.mountwarden", "mw.mountwarden-evictions"},
		"ownNodePolicies.evictions=false": {"mw.mountwarden"},
		"ownNodePolicies.enabled=false":   nil,
	} {
		o := render(t, append([]string{"serviceAccount.name=somebody"}, strings.Fields(set)...)...)
		var names []string
		for _, p := range o.policies {
			names = append(names, p.Name)
			if c := p.Spec.MatchConditions; len(c) != 1 || c[0].Expression != "request.userInfo.username == 'system:serviceaccount:mw:somebody'" {
				t.Errorf("%s is about %+v", p.Name, c)
			}
			if p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionv1.Fail {
				t.Errorf("%s lets through what it cannot judge", p.Name)
			}
		}
		if !slices.Equal(names, want) || !slices.Equal(o.bound, want) {
			t.Errorf("%q: policies %v, bound %v, want %v", set, names, o.bound, want)
		}
	}
}

func TestRoleHasNoWildcardAndNoSecrets(t *testing.T) {
	o := render(t)
	for _, rule := range slices.Concat(o.role.Rules, o.ownRules()) {
		all := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs)
		for _, never := range []string{"*", "secrets", "pods/exec", "nodes/status", "deletecollection", "impersonate", "escalate"} {
			if slices.Contains(all, never) || len(rule.NonResourceURLs) > 0 {
				t.Errorf("rule %+v", rule)
			}
		}
	}
	if leases := granted(o.role.Rules); strings.Contains(strings.Join(leases, " "), "leases") {
		t.Errorf("Leases of every namespace, where those of kube-node-lease are the nodes' heartbeats: %q", leases)
	}
}

func TestAccountIsBoundToTheRole(t *testing.T) {
	o := render(t)
	subject := rbacv1.Subject{Kind: "ServiceAccount", Name: o.account.Name, Namespace: "mw"}
	if diff := cmp.Diff([]rbacv1.Subject{subject}, o.binding.Subjects); diff != "" || o.binding.RoleRef.Name != o.role.Name {
		t.Errorf("binds %+v to %+v", o.binding.RoleRef, o.binding.Subjects)
	}
	if diff := cmp.Diff([]rbacv1.Subject{subject}, o.ownBinding.Subjects); diff != "" || o.ownBinding.RoleRef.Name != o.ownRole.Name || o.ownRole.Namespace != "mw" {
		t.Errorf("binds %+v to %+v", o.ownBinding.RoleRef, o.ownBinding.Subjects)
	}
	if got := o.daemonSet.Spec.Template.Spec.ServiceAccountName; got != o.account.Name {
		t.Errorf("the pods run as %q", got)
	}
	if o := render(t, "serviceAccount.create=false", "serviceAccount.name=mine"); o.account != nil || o.binding.Subjects[0].Name != "mine" {
		t.Errorf("binds %+v", o.binding.Subjects)
	}
	if o := render(t, "rbac.create=false"); o.role != nil || o.binding != nil || o.ownRole != nil || o.ownBinding != nil {
		t.Error("rules are rendered although they are not wanted")
	}
}

// load reads the ConfigMap as the agent does.
func load(t *testing.T, o objects) config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(o.configMap.Data["config.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{"NODE_NAME": "node-1", "POD_NAMESPACE": "mw"}
	c, warnings, err := config.Load(flags, func(name string) (string, bool) { value, set := variables[name]; return value, set })
	if err != nil || warnings != nil {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfigMapLoadsToTheDefaults(t *testing.T) {
	want := config.Default()
	want.NodeName, want.Namespace = "node-1", "mw"
	if diff := cmp.Diff(want, load(t, render(t))); diff != "" {
		t.Errorf("the chart's defaults are not the agent's (-agent +chart):\n%s", diff)
	}
}

func TestEveryKeyCanBeSet(t *testing.T) {
	for _, key := range config.Keys() {
		value := map[string]string{
			"dryRun": "true", "events": "false", "metricsBindAddress": ":9999", "healthProbeBindAddress": ":9998", "statusBindAddress": "127.0.0.1:9997", "logFormat": "text", "procRoot": "/host/proc",
			"workerPath": "/bin/worker", "backendPath": "/bin/backend", "checkBackends": "false", "abortStuckFUSE": "true", "followUpSeconds": "77",
			"backoff.initialSeconds": "70", "backoff.maxSeconds": "700", "budgets.cluster": "300", "defaults.mode": "Report", "defaults.action": "Delete", "defaults.hangSeconds": "50",
			"limits.allowUnmanaged": "false", "limits.namespaceSelector": "team", "limits.allowedActions": "{Evict}",
		}[key]
		if value == "" {
			value = "7" // no default is 7
		}
		if key == "nodeName" || key == "namespace" {
			continue // the chart sets NODE_NAME and POD_NAMESPACE
		}
		if cmp.Equal(load(t, render(t)), load(t, render(t, "config."+key+"="+value))) {
			t.Errorf("config.%s=%s changes nothing", key, value)
		}
	}
}

func TestPodsRestartWithTheConfiguration(t *testing.T) {
	checksum := func(set ...string) string {
		return render(t, set...).daemonSet.Spec.Template.Annotations["checksum/config"]
	}
	before, again, changed := checksum(), checksum(), checksum("config.logLevel=1")
	if before == "" || before != again || before == changed {
		t.Error("the checksum does not follow the configuration")
	}
}

func TestPodMonitor(t *testing.T) {
	if got := render(t).foreign; got != nil {
		t.Errorf("renders %v, which needs an operator", got)
	}
	if got := render(t, "podMonitor.enabled=true").foreign; !slices.Equal(got, []string{"PodMonitor"}) {
		t.Errorf("renders %v, want a PodMonitor", got)
	}
}

func TestValuesAreRefused(t *testing.T) {
	for _, set := range []string{
		"nosuch=1", "image.digest=sha256:12", "image.digest=latest", "image.repository=", "image.pullPolicy=Sometimes",
		"config.nosuch=1", "config.nodeName=a", "config.defaults.nosuch=1", "config.limits.nosuch=1", "config.kubeAPI.nosuch=1",
		"config.namespace=a", "config.budgets.nosuch=1", "config.storm.nosuch=1", "config.backoff.nosuch=1", "config.budgets.node=0",
		"config.budgets.cluster=601", "config.storm.threshold=0", "config.backoff.maxAttempts=0", "config.followUpSeconds=9", "config.checkBackends=perhaps",
		"config.budgets=5", "config.budgets.windowSeconds=0", "config.budgets.namespace=601", "config.storm.cooldownSeconds=3601", "config.followUpSeconds=3601",
		"config.backoff.initialSeconds=0", "config.backoff.maxSeconds=86401", "config.backoff.forgetSeconds=0", "config.abortStuckFUSE=perhaps",
		"config.logLevel=10", "config.logLevel=x", "config.logFormat=xml", "config.dryRun=perhaps", "config.maxWorkers=0",
		"config.metricsBindAddress=8080", "config.healthProbeBindAddress=0", "config.procRoot=proc", "config.statusBindAddress=:8082", "config.statusBindAddress=10.0.0.1:8082",
		"config.statusBindAddress=localhost:8082", "config.statusBindAddress=127.0.0.1:0", "config.blockedSeconds=-1",
		"config.defaults.mode=report", "config.defaults.action=Kill", "config.defaults.periodSeconds=0", "config.defaults.timeoutSeconds=301",
		"config.limits.allowedActions={}", "config.limits.allowedActions={Kill}", "privileged=perhaps", "tolerations=all",
		"terminationGracePeriodSeconds=0", "podMonitor.interval=soon", "rbac.create=perhaps",
	} {
		if _, err := template(t, set); err == nil {
			t.Errorf("%s was accepted", set)
		}
	}
}

func TestTwoReleasesDoNotShareNames(t *testing.T) {
	second, err := helm.Run(t, "template", "other", chartDir, "--namespace", "mw")
	if err != nil {
		t.Fatal(err)
	}
	a, b := render(t), decode(t, second)
	if a.role.Name == b.role.Name || a.daemonSet.Name == b.daemonSet.Name || cmp.Equal(a.daemonSet.Spec.Selector, b.daemonSet.Spec.Selector) {
		t.Errorf("both render %s and %s", a.role.Name, a.daemonSet.Name)
	}
}
