package chart

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/test/internal/helm"
)

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
	pod := render(t).daemonSet(t).Spec.Template.Spec
	if !pod.HostPID || pod.HostNetwork || pod.HostIPC {
		t.Errorf("hostPID %v, hostNetwork %v, hostIPC %v", pod.HostPID, pod.HostNetwork, pod.HostIPC)
	}
	for _, v := range pod.Volumes {
		if v.DownwardAPI == nil {
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
	pod := render(t).daemonSet(t).Spec.Template.Spec
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

// Without a limit of the container, limits.memory would be all memory of the node.
func TestAgentKnowsItsMemoryLimit(t *testing.T) {
	limitOf := func(set ...string) *corev1.EnvVarSource {
		for _, e := range render(t, set...).agent(t).Env {
			if e.Name == "MEMORY_LIMIT" {
				return e.ValueFrom
			}
		}
		return nil
	}
	want := &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}
	if diff := cmp.Diff(want, limitOf()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, none := range []string{"resources.limits.memory=null", "resources.limits=null", "resources=null"} {
		if got := limitOf(none); got != nil {
			t.Errorf("%s: %+v", none, got)
		}
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
		{nil, "ghcr.io/mountwarden/mountwarden:v0.1.0"},
		{[]string{"image.repository=local/mw", "image.tag=dev"}, "local/mw:dev"},
		{[]string{"image.digest=" + digest}, "ghcr.io/mountwarden/mountwarden@" + digest},
		{[]string{"image.tag=dev", "image.digest=" + digest}, "ghcr.io/mountwarden/mountwarden@" + digest},
	} {
		if got := render(t, tc.set...).agent(t).Image; got != tc.want {
			t.Errorf("%v: image %q, want %q", tc.set, got, tc.want)
		}
	}
}

func TestPodsRestartWithTheConfiguration(t *testing.T) {
	annotation := func(set ...string) string {
		return render(t, set...).daemonSet(t).Spec.Template.Annotations["mountwarden.io/config"]
	}
	before, again, changed := annotation(), annotation(), annotation("config.logLevel=1")
	if before == "" || before != again || before == changed {
		t.Error("the DaemonSet's revision does not follow the configuration")
	}
}

func TestTwoReleasesDoNotShareNames(t *testing.T) {
	second, err := helm.Run(t, "template", "other", chartDir, "--namespace", "mw")
	if err != nil {
		t.Fatal(err)
	}
	a, b := render(t), decode(t, second)
	for _, o := range a.installed {
		if slices.ContainsFunc(b.installed, func(p client.Object) bool {
			return reflect.TypeOf(o) == reflect.TypeOf(p) && o.GetName() == p.GetName()
		}) {
			t.Errorf("both render %T %s", o, o.GetName())
		}
	}
	if cmp.Equal(a.daemonSet(t).Spec.Selector, b.daemonSet(t).Spec.Selector) {
		t.Error("both select the same pods")
	}
}

// The node's name in tokens, which the policies rest on, came with Kubernetes 1.30.
func TestOldKubernetesIsRefused(t *testing.T) {
	for version, taken := range map[string]bool{"1.29.9": false, "1.30.0": true, "1.30.1-gke.100": true} {
		_, err := helm.Run(t, "template", "mountwarden", chartDir, "--kube-version", version)
		if (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "kubeVersion") {
			t.Errorf("Kubernetes %s: %v", version, err)
		}
	}
}
