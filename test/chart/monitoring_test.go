package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestNothingNeedsAnOperatorByDefault(t *testing.T) {
	if text := render(t).text; strings.Contains(text, "monitoring.coreos.com") || strings.Contains(text, "kind: Service\n") {
		t.Error("renders what needs the Prometheus Operator")
	}
}

// Both monitors find the agents' port, and give each series the name of its node.
func TestMonitors(t *testing.T) {
	node := monitoringv1.RelabelConfig{SourceLabels: []monitoringv1.LabelName{"__meta_kubernetes_pod_node_name"}, TargetLabel: "node"}
	p := render(t, "podMonitor.enabled=true")
	monitor := only[*monitoringv1.PodMonitor](t, p.installed)
	endpoint := monitor.Spec.PodMetricsEndpoints[0]
	if *endpoint.Port != "metrics" || !endpoint.HonorLabels || !cmp.Equal(endpoint.RelabelConfigs, []monitoringv1.RelabelConfig{node}) {
		t.Errorf("%+v", endpoint)
	}
	if pod := p.daemonSet(t).Spec.Template.Labels; !labels.SelectorFromSet(monitor.Spec.Selector.MatchLabels).Matches(labels.Set(pod)) {
		t.Errorf("selects %v, the pods have %v", monitor.Spec.Selector.MatchLabels, pod)
	}

	s := render(t, "serviceMonitor.enabled=true", "config.metricsBindAddress=:9000")
	service, other := only[*corev1.Service](t, s.installed), only[*monitoringv1.ServiceMonitor](t, s.installed)
	if !labels.SelectorFromSet(other.Spec.Selector.MatchLabels).Matches(labels.Set(service.Labels)) || other.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
		t.Errorf("the monitor %+v does not find the Service %v", other.Spec, service.Labels)
	}
	if !cmp.Equal(other.Spec.Endpoints[0].RelabelConfigs, []monitoringv1.RelabelConfig{node}) {
		t.Errorf("%+v", other.Spec.Endpoints[0])
	}
	if pod := s.daemonSet(t).Spec.Template.Labels; !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod)) {
		t.Errorf("the Service selects %v, the pods have %v", service.Spec.Selector, pod)
	}
	if service.Spec.ClusterIP != corev1.ClusterIPNone || !service.Spec.PublishNotReadyAddresses || service.Spec.Ports[0].Port != 9000 {
		t.Errorf("%+v", service.Spec)
	}
}

// Where metrics are guarded, Prometheus comes by HTTPS with a token, checks the certificate as it is told, and its account may get them.
func TestSecureMetrics(t *testing.T) {
	const secure, credentials = "config.metricsSecure=true", "secureMetrics.authorization.credentials."
	s := render(t, secure, "serviceMonitor.enabled=true", "secureMetrics.secretName=tls", "secureMetrics.tlsConfig.serverName=agents",
		"secureMetrics.readers[0].namespace=monitoring", "secureMetrics.readers[0].name=prometheus")
	endpoint := only[*monitoringv1.ServiceMonitor](t, s.installed).Spec.Endpoints[0]
	if endpoint.Scheme == nil || !strings.EqualFold(string(*endpoint.Scheme), "https") || *endpoint.TLSConfig.ServerName != "agents" || endpoint.TLSConfig.InsecureSkipVerify != nil {
		t.Errorf("%+v %+v", endpoint, endpoint.TLSConfig)
	}
	if endpoint.BearerTokenFile != "/var/run/secrets/kubernetes.io/serviceaccount/token" { //nolint:staticcheck // the way of ServiceMonitors to an own token
		t.Errorf("token of %q", endpoint.BearerTokenFile) //nolint:staticcheck // as above
	}
	cfg := load(t, s)
	mount := s.daemonSet(t).Spec.Template.Spec.Containers[0].VolumeMounts[1]
	if !cfg.MetricsSecure || mount.MountPath != cfg.MetricsCertDir || !mount.ReadOnly || s.daemonSet(t).Spec.Template.Spec.Volumes[1].Secret.SecretName != "tls" {
		t.Errorf("%+v at %+v", cfg, mount)
	}
	bindings := every[*rbacv1.ClusterRoleBinding](s.installed)
	readers := bindings[slices.IndexFunc(bindings, func(b *rbacv1.ClusterRoleBinding) bool { return strings.HasSuffix(b.Name, "-metrics") })]
	if len(readers.Subjects) != 1 || readers.Subjects[0].Namespace != "monitoring" || readers.Subjects[0].Name != "prometheus" || !strings.HasSuffix(readers.RoleRef.Name, "-metrics") {
		t.Errorf("%+v", readers)
	}

	p := render(t, secure, "podMonitor.enabled=true", credentials+"name=scraper", credentials+"key=token")
	pods := only[*monitoringv1.PodMonitor](t, p.installed).Spec.PodMetricsEndpoints[0]
	if *pods.TLSConfig.InsecureSkipVerify != true || pods.Authorization.Credentials.Name != "scraper" {
		t.Errorf("%+v %+v", pods.TLSConfig, pods.Authorization)
	}
	if cfg := load(t, p); cfg.MetricsCertDir != "" || !cfg.MetricsSecure {
		t.Errorf("%+v", cfg)
	}
}

func TestSecureMetricsThatAreNot(t *testing.T) {
	for _, tc := range []struct{ set, want string }{
		{"config.metricsSecure=true podMonitor.enabled=true", "secureMetrics.authorization {}"},
		{"secureMetrics.secretName=tls", "config.metricsSecure is true"},
		{"config.metricsCertDir=/tls", "config.metricsSecure is true"},
		{"secureMetrics.readers[0].namespace=a secureMetrics.readers[0].name=b", "config.metricsSecure is true"},
		{"config.metricsSecure=true config.metricsCertDir=/tls secureMetrics.secretName=tls", "set one of both"},
	} {
		if _, err := template(t, strings.Fields(tc.set)...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.set, err)
		}
	}
}

func alertRules(t *testing.T, o objects) []monitoringv1.Rule {
	t.Helper()
	rule := only[*monitoringv1.PrometheusRule](t, o.installed)
	if rule == nil || len(rule.Spec.Groups) != 1 {
		t.Fatalf("%+v", rule)
	}
	return rule.Spec.Groups[0].Rules
}

func TestEachAlertCanBeTurnedOff(t *testing.T) {
	all := alertRules(t, render(t, "prometheusRule.enabled=true"))
	keys := slices.Sorted(mapKeys(valuesOf(t), "prometheusRule", "rules"))
	if len(all) != len(keys) || len(all) < 8 {
		t.Fatalf("%d alerts for the keys %q", len(all), keys)
	}
	for _, key := range keys {
		rest := alertRules(t, render(t, "prometheusRule.enabled=true", "prometheusRule.rules."+key+".enabled=false"))
		name := "Mountwarden" + strings.ToUpper(key[:1]) + key[1:]
		if len(rest) != len(all)-1 || slices.ContainsFunc(rest, func(r monitoringv1.Rule) bool { return r.Alert == name }) {
			t.Errorf("%s=false leaves %d alerts, %s among them or another away", key, len(rest), name)
		}
	}
}

func TestAlertsTakeWhatTheyAreGiven(t *testing.T) {
	const key = "prometheusRule.rules.gaveUp."
	rules := alertRules(t, render(t, "prometheusRule.enabled=true", "prometheusRule.alertLabels.team=storage", "prometheusRule.alertAnnotations.where=here",
		"prometheusRule.runbookBaseURL=https://wiki.example.com", key+"for=7m", key+"severity=page", key+"labels.team=oncall", key+"annotations.where=there",
		key+"runbookURL=https://other.example.com/x", "config.maxParkedWorkers=9"))
	for _, r := range rules {
		team, where, severity, runbook := "storage", "here", r.Labels["severity"], "https://wiki.example.com/"+r.Alert+".md"
		if r.Alert == "MountwardenGaveUp" {
			team, where, severity, runbook = "oncall", "there", "page", "https://other.example.com/x"
			if *r.For != "7m" {
				t.Errorf("fires after %s", *r.For)
			}
		}
		if r.Labels["team"] != team || r.Annotations["where"] != where || r.Labels["severity"] != severity || severity == "" || r.Annotations["runbook_url"] != runbook {
			t.Errorf("%s: labels %v, annotations %v", r.Alert, r.Labels, r.Annotations)
		}
		if r.Alert == "MountwardenProbesParked" && !strings.HasSuffix(r.Expr.StrVal, ">= 5") {
			t.Errorf("half of 9, rounded up: %s", r.Expr.StrVal)
		}
		if strings.Contains(r.Expr.StrVal, "$") {
			t.Errorf("%s: not all was filled in: %s", r.Alert, r.Expr.StrVal)
		}
	}
}

func TestNetworkPolicy(t *testing.T) {
	if p := only[*networkingv1.NetworkPolicy](t, render(t).installed); p != nil {
		t.Error("there is one although nobody asked")
	}
	for name, tc := range map[string]struct {
		set   []string
		ports []string
		from  int // peers of the first rule; 0 is everybody
	}{
		"everybody scrapes": {nil, []string{"metrics", "health"}, 0},
		"one namespace":     {[]string{"networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring"}, []string{"metrics", "health"}, 1},
	} {
		o := render(t, append(tc.set, "networkPolicy.enabled=true")...)
		policy := only[*networkingv1.NetworkPolicy](t, o.installed).Spec
		var ports []string
		for _, rule := range policy.Ingress {
			ports = append(ports, rule.Ports[0].Port.StrVal)
		}
		if !slices.Equal(ports, tc.ports) || len(policy.Ingress[0].From) != tc.from {
			t.Errorf("%s: %+v", name, policy.Ingress)
		}
		if !labels.SelectorFromSet(policy.PodSelector.MatchLabels).Matches(labels.Set(o.daemonSet(t).Spec.Template.Labels)) {
			t.Errorf("%s: is about other pods: %v", name, policy.PodSelector)
		}
	}
}

func TestDashboardIsCarriedUnchanged(t *testing.T) {
	want, err := os.ReadFile(filepath.Join(chartDir, "dashboards", "mountwarden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(want) {
		t.Fatal("the dashboard is not JSON")
	}
	for _, m := range every[*corev1.ConfigMap](render(t, "dashboard.enabled=true", "dashboard.namespace=grafana").installed) {
		if m.Namespace != "grafana" {
			continue
		}
		if m.Labels["grafana_dashboard"] != "1" || strings.TrimSpace(m.Data["mountwarden.json"]) != strings.TrimSpace(string(want)) {
			t.Errorf("labels %v, or the dashboard is another", m.Labels)
		}
		return
	}
	t.Error("there is none")
}
