package chart

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/internal/helm"
)

// value is one key of values.yaml with its comment.
type value struct {
	path    []string
	comment string
	node    *yaml.Node
	section bool // its keys are values of their own
}

// valuesOf lists the keys of values.yaml in order. A map whose keys have comments is a section; any other is one value.
func valuesOf(t *testing.T) []value {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return below(nil, document.Content[0])
}

func below(path []string, node *yaml.Node) []value {
	var all []value
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		v := value{path: append(slices.Clone(path), key.Value), comment: plain(key.HeadComment), node: content}
		v.section = content.Kind == yaml.MappingNode && len(content.Content) > 0 && content.Content[0].HeadComment != ""
		all = append(all, v)
		if v.section {
			all = append(all, below(v.path, content)...)
		}
	}
	return all
}

// plain is the text of a comment.
func plain(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		words = append(words, strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "#"))...)
	}
	return strings.Join(words, " ")
}

// mapKeys are the keys in a section.
func mapKeys(all []value, path ...string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, v := range all {
			if slices.Equal(v.path[:len(v.path)-1], path) && !yield(v.path[len(v.path)-1]) {
				return
			}
		}
	}
}

// schema is a JSON schema.
type schema map[string]any

func readSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// at follows properties, and references to the definitions.
func (s schema) at(path ...string) schema {
	found := s
	for _, key := range path {
		properties, _ := found["properties"].(map[string]any)
		next, _ := properties[key].(map[string]any)
		if reference, ok := next["$ref"].(string); ok {
			definitions, _ := s["definitions"].(map[string]any)
			next, _ = definitions[strings.TrimPrefix(reference, "#/definitions/")].(map[string]any)
		}
		found = next
	}
	return found
}

func TestSchemaKnowsEveryValueAndNoOther(t *testing.T) {
	s, all := readSchema(t), valuesOf(t)
	for _, section := range append([]value{{}}, slices.DeleteFunc(slices.Clone(all), func(v value) bool { return !v.section })...) {
		at := s.at(section.path...)
		properties, _ := at["properties"].(map[string]any)
		known := slices.DeleteFunc(slices.Sorted(maps.Keys(properties)), func(key string) bool { return key == "global" }) // every chart has it
		if diff := cmp.Diff(slices.Sorted(mapKeys(all, section.path...)), known); diff != "" {
			t.Errorf("%q (-values.yaml +schema):\n%s", strings.Join(section.path, "."), diff)
		}
		if at["additionalProperties"] != false {
			t.Errorf("%q takes unknown keys", strings.Join(section.path, "."))
		}
	}
}

// The schema's bounds are the agent's own, which its errors name.
func TestSchemaHasTheAgentsBounds(t *testing.T) {
	s, compared := readSchema(t), 0
	for _, key := range config.Keys() {
		at := s.at(append([]string{"config"}, strings.Split(key, ".")...)...)
		if at["type"] != "integer" {
			continue
		}
		flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
		config.AddFlags(flags)
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(nested(key, "100000000")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := flags.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(flags, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("invalid %s \"100000000\": allowed is a whole number from %v to %v", key, at["minimum"], at["maximum"]); !strings.Contains(c.Validate().Error(), want) {
			t.Errorf("the agent does not say %q but\n%v", want, c.Validate())
		}
		compared++
	}
	if compared < 20 {
		t.Errorf("only %d numbers", compared)
	}
}

// nested writes one key of the configuration file.
func nested(key, value string) string {
	section, rest, found := strings.Cut(key, ".")
	if !found {
		return key + ": " + value + "\n"
	}
	return section + ":\n  " + rest + ": " + value + "\n"
}

// refused has values that must not be installed, and what the message says beside the key.
func refused() [][2]string {
	const digest = "does not match pattern"
	return [][2]string{
		{"nosuch=1", "'nosuch' not allowed"},
		{"image.nosuch=1", "'nosuch' not allowed"},
		{"image.repository=", digest},
		{"image.repository=a b", "'a b' " + digest},
		{"image.tag=-x", "'-x' " + digest},
		{"image.digest=sha256:12", "'sha256:12' " + digest},
		{"image.digest=latest", "'latest' " + digest},
		{"image.pullPolicy=Sometimes", "'Always', 'IfNotPresent', 'Never'"},
		{"imagePullSecrets[0]=registry", "got string, want object"},
		{"imagePullSecrets[0].nosuch=a", "missing property 'name'"},
		{"nameOverride=Upper", "'Upper' " + digest},
		{"fullnameOverride=a.b", "'a.b' " + digest},
		{"commonLabels.n=1", "got number, want string"},
		{"commonLabels.app\\.kubernetes\\.io/name=a", "app.kubernetes.io~1name': false schema"},
		{"podLabels.app\\.kubernetes\\.io/instance=a", "app.kubernetes.io~1instance': false schema"},
		{"podAnnotations.n=true", "got boolean, want string"},
		{"privileged=perhaps", "got string, want boolean"},
		{"securityContext.nosuch=1", "'nosuch' not allowed"},
		{"securityContext.capabilities.add={sys_ptrace}", "'sys_ptrace' " + digest},
		{"securityContext.seccompProfile.type=None", "'RuntimeDefault', 'Unconfined', 'Localhost'"},
		{"podSecurityContext.fsGroup=-1", "got -1, want 0"},
		{"resources.limit.memory=1Gi", "'limit' not allowed"},
		{"resources.limits.memory=much", "'much' " + digest},
		{"priorityClassName=High Priority", "'High Priority' " + digest},
		{"terminationGracePeriodSeconds=0", "got 0, want 6"},
		{"updateStrategy.type=Recreate", "'RollingUpdate', 'OnDelete'"},
		{"updateStrategy.rollingUpdate.maxUnavailable=few", "'few' " + digest},
		{"minReadySeconds=-1", "got -1, want 0"},
		{"livenessProbe.periodSeconds=0", "got 0, want 1"},
		{"livenessProbe.httpGet.path=/", "'httpGet' not allowed"},
		{"tolerations=all", "got string, want array"},
		{"tolerations[0].operator=Is", "'Exists', 'Equal'"},
		{"nodeSelector.gpu=true", "got boolean, want string"},
		{"affinity.node=1", "'node' not allowed"},
		{"extraArgs={agent}", "'agent' " + digest},
		{"extraEnv[0].value=a", "missing property 'name'"},
		{"extraVolumes[0].emptyDir.medium=Memory", "missing property 'name'"},
		{"extraVolumeMounts[0].name=a", "missing property 'mountPath'"},
		{"extraObjects={1}", "got number, want string or object"},
		{"serviceAccount.name=Agent", "'Agent' " + digest},
		{"rbac.create=perhaps", "got string, want boolean"},
		{"ownNodePolicies.nosuch=1", "'nosuch' not allowed"},
		{"config.metricsSecure=perhaps", "got string, want boolean"},
		{"config.metricsCertDir=tls", "'tls' " + digest},
		{"secureMetrics.secretName=My_Secret", "'My_Secret' " + digest},
		{"secureMetrics.readers[0].name=prometheus", "missing property 'namespace'"},
		{"secureMetrics.readers={prometheus}", "got string, want object"},
		{"secureMetrics.nosuch=1", "'nosuch' not allowed"},
		{"podMonitor.interval=soon", "'soon' " + digest},
		{"podMonitor.nosuch=1", "'nosuch' not allowed"},
		{"serviceMonitor.scrapeTimeout=10", "got number, want string"},
		{"prometheusRule.runbookBaseURL=docs", "'docs' " + digest},
		{"prometheusRule.rules.nosuch.enabled=true", "'nosuch' not allowed"},
		{"prometheusRule.rules.gaveUp.for=long", "'long' " + digest},
		{"prometheusRule.rules.gaveUp.severity=", "minLength: got 0, want 1"},
		{"prometheusRule.rules.gaveUp.expr=up", "'expr' not allowed"},
		{"prometheusRule.additionalRules[0].alert=A", "missing property 'expr'"},
		{"dashboard.labels.n=1", "got number, want string"},
		{"networkPolicy.metricsFrom[0].pods=1", "'pods' not allowed"},
		{"helmTest.wait=soon", "'soon' " + digest},
		{"config.budgets=null", "missing property 'budgets'"},
		{"config.defaults=null", "missing property 'defaults'"},
		{"serviceAccount=null", "missing property 'serviceAccount'"},
		{"ownNodePolicies=null", "missing property 'ownNodePolicies'"},
		{"prometheusRule.rules.gaveUp=null", "missing property 'gaveUp'"},
		{"config.nosuch=1", "'nosuch' not allowed"},
		{"config.nodeName=a", "'nodeName' not allowed"},
		{"config.namespace=a", "'namespace' not allowed"},
		{"config.procRoot=/host/proc", "'procRoot' not allowed"},
		{"config.dryRun=perhaps", "got string, want boolean"},
		{"config.metricsBindAddress=8080", "got number, want string"},
		{"config.metricsBindAddress=localhost", "'localhost' " + digest},
		{"config.metricsBindAddress=:0", "':0' " + digest},
		{"config.metricsBindAddress=:65536", "':65536' " + digest},
		{"config.healthProbeBindAddress=off", "'off' " + digest},
		{"config.healthProbeBindAddress=:70000", "':70000' " + digest},
		{"config.healthProbeBindAddress=127.0.0.1:8081", "'127.0.0.1:8081' " + digest}, // the kubelet asks the pod's address
		{"config.healthProbeBindAddress=localhost:8081", "'localhost:8081' " + digest},
		{"config.statusBindAddress=:8082", "':8082' " + digest},
		{"config.statusBindAddress=10.0.0.1:8082", "'10.0.0.1:8082' " + digest},
		{"config.statusBindAddress=localhost:8082", "'localhost:8082' " + digest},
		{"config.statusBindAddress=127.0.0.1:0", "'127.0.0.1:0' " + digest},
		{"config.logFormat=xml", "'json', 'text'"},
		{"config.logLevel=10", "got 10, want 9"},
		{"config.logLevel=x", "got string, want integer"},
		{"config.maxWorkers=0", "got 0, want 1"},
		{"config.maxParkedWorkers=4097", "got 4,097, want 4,096"},
		{"config.blockedSeconds=-1", "got -1, want 0"},
		{"config.followUpSeconds=9", "got 9, want 10"},
		{"config.followUpSeconds=3601", "got 3,601, want 3,600"},
		{"config.checkBackends=perhaps", "got string, want boolean"},
		{"config.abortStuckFUSE=perhaps", "got string, want boolean"},
		{"config.budgets=5", "got number, want object"},
		{"config.budgets.nosuch=1", "'nosuch' not allowed"},
		{"config.budgets.node=0", "got 0, want 1"},
		{"config.budgets.namespace=601", "got 601, want 600"},
		{"config.budgets.cluster=601", "got 601, want 600"},
		{"config.budgets.windowSeconds=0", "got 0, want 1"},
		{"config.storm.nosuch=1", "'nosuch' not allowed"},
		{"config.storm.threshold=0", "got 0, want 1"},
		{"config.storm.cooldownSeconds=3601", "got 3,601, want 3,600"},
		{"config.backoff.nosuch=1", "'nosuch' not allowed"},
		{"config.backoff.initialSeconds=0", "got 0, want 1"},
		{"config.backoff.maxSeconds=86401", "got 86,401, want 86,400"},
		{"config.backoff.forgetSeconds=0", "got 0, want 1"},
		{"config.backoff.maxAttempts=0", "got 0, want 1"},
		{"config.kubeAPI.nosuch=1", "'nosuch' not allowed"},
		{"config.kubeAPI.qps=0", "got 0, want 1"},
		{"config.defaults.nosuch=1", "'nosuch' not allowed"},
		{"config.defaults.mode=report", "'Remediate', 'Report'"},
		{"config.defaults.action=Kill", "'Evict', 'Delete'"},
		{"config.defaults.periodSeconds=0", "got 0, want 1"},
		{"config.defaults.periodSeconds=1.5", "got string, want integer"},
		{"config.defaults.timeoutSeconds=301", "got 301, want 300"},
		{"config.limits.nosuch=1", "'nosuch' not allowed"},
		{"config.limits.allowedActions={}", "'Evict', 'Delete'"},
		{"config.limits.allowedActions={Kill}", "'Evict', 'Delete'"},
		{"config.limits.namespaceSelector=team=${x}", "'team=${x}' " + digest},
	}
}

// Bad values are refused before anything is installed, and the message names the key and the value or what is allowed.
func TestValuesAreRefused(t *testing.T) {
	for _, batch := range batches(refused()) {
		var set []string
		for _, bad := range batch {
			set = append(set, bad[0])
		}
		_, err := template(t, set...)
		if err == nil {
			t.Errorf("accepted: %q", set)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for _, bad := range batch {
			at := place(bad[0], bad[1])
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, at) && strings.Contains(l, bad[1]) }) {
				t.Errorf("%s: no line says %q and %q", bad[0], at, bad[1])
			}
		}
	}
}

// batches puts bad values together that do not disturb each other: the message tells of all, and each start of helm takes its time.
func batches(all [][2]string) [][][2]string {
	var found [][][2]string
	for _, bad := range all {
		i := slices.IndexFunc(found, func(batch [][2]string) bool {
			return !slices.ContainsFunc(batch, func(other [2]string) bool { return disturb(bad, other) || disturb(other, bad) })
		})
		if i < 0 {
			found, i = append(found, nil), len(found)
		}
		found[i] = append(found[i], bad)
	}
	return found
}

// disturb reports whether a value hides what the message would say of another.
func disturb(bad, other [2]string) bool {
	key, _, _ := strings.Cut(bad[0], "=")
	hidden, _, _ := strings.Cut(other[0], "=")
	return place(bad[0], bad[1]) == place(other[0], other[1]) || strings.HasPrefix(hidden+".", key+".") || strings.HasPrefix(hidden, key+"[")
}

// place is where the message says that something is wrong: at the key, or for one that is unknown or missing at its section.
func place(set, said string) string {
	const dot = "\x00"
	key, value, _ := strings.Cut(set, "=")
	if strings.HasPrefix(value, "{") { // a list of one
		key += "[0]"
	}
	path := strings.NewReplacer("\\.", dot, "/", "~1", "[0]", "/0", ".", "/").Replace("." + key)
	if unknown, _, found := strings.Cut(strings.TrimPrefix(said, "'"), "' not allowed"); found {
		path, _, _ = strings.Cut(path+"/", "/"+unknown+"/")
	}
	if missing, found := strings.CutPrefix(said, "missing property '"); found {
		path = strings.TrimSuffix(path, "/"+strings.TrimSuffix(missing, "'"))
		if item, _, list := strings.Cut(path, "/0/"); list {
			path = item + "/0"
		}
	}
	return "at '" + strings.ReplaceAll(path, dot, ".") + "'"
}

// What a schema cannot say is refused as well, and what the schema can say of two keys at once.
func TestValuesThatDoNotGoTogether(t *testing.T) {
	for name, tc := range map[string]struct {
		set  []string
		want []string
	}{
		"part and whole":       {[]string{"config.budgets.node=200"}, []string{"config.budgets.node 200", "config.budgets.cluster 120"}},
		"namespace and whole":  {[]string{"config.budgets.cluster=50"}, []string{"config.budgets.namespace 60", "config.budgets.cluster 50"}},
		"first and longest":    {[]string{"config.backoff.maxSeconds=5"}, []string{"config.backoff.initialSeconds 10", "config.backoff.maxSeconds 5"}},
		"period below limit":   {[]string{"config.limits.minPeriodSeconds=60"}, []string{"config.limits.minPeriodSeconds 60", "config.defaults.periodSeconds 10"}},
		"hang before timeout":  {[]string{"config.defaults.timeoutSeconds=50"}, []string{"config.defaults.timeoutSeconds 50", "config.defaults.hangSeconds 40"}},
		"Evict not allowed":    {[]string{"config.limits.allowedActions={Delete}"}, []string{"/config/defaults/action", "must be 'Delete'"}},
		"Delete not allowed":   {[]string{"config.limits.allowedActions={Evict}", "config.defaults.action=Delete"}, []string{"/config/defaults/action", "must be 'Evict'"}},
		"two monitors":         {[]string{"podMonitor.enabled=true", "serviceMonitor.enabled=true"}, []string{"/serviceMonitor/enabled", "must be false"}},
		"policies for default": {[]string{"serviceAccount.create=false"}, []string{"/serviceAccount/name"}},
		"rights for default":   {[]string{"serviceAccount.create=false", "ownNodePolicies.enabled=false"}, []string{"/serviceAccount/name"}},
		"two of a rollout":     {[]string{"updateStrategy.rollingUpdate.maxSurge=1", "updateStrategy.rollingUpdate.maxUnavailable=1"}, []string{"maxSurge 1", "maxUnavailable 1", "exactly one"}},
		"none of a rollout":    {[]string{"updateStrategy.rollingUpdate.maxSurge=0%", "updateStrategy.rollingUpdate.maxUnavailable=0"}, []string{"maxSurge 0%", "maxUnavailable 0", "exactly one"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := template(t, tc.set...)
			if err == nil {
				t.Fatal("was accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("does not say %q:\n%v", want, err)
				}
			}
		})
	}
}

// Monitors and alerts of an agent that serves no metrics would never find any.
func TestNoMonitoringWithoutMetrics(t *testing.T) {
	for _, what := range []string{"podMonitor", "serviceMonitor", "prometheusRule"} {
		_, err := helm.Run(t, "template", "mountwarden", chartDir, "--set-string", "config.metricsBindAddress=0", "--set", what+".enabled=true")
		if err == nil || !strings.Contains(err.Error(), "/"+what+"/enabled") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestValuesThatGoTogether(t *testing.T) {
	for _, set := range [][]string{
		{"config.limits.allowedActions={Delete}", "config.defaults.action=Delete"},
		{"config.limits.allowedActions={Evict}"},
		{"config.budgets.node=120", "config.budgets.namespace=120"},
		{"config.defaults.timeoutSeconds=40"},
		{"serviceAccount.create=false", "serviceAccount.name=agents", "ownNodePolicies.enabled=false"},
		{"updateStrategy.rollingUpdate.maxSurge=25%", "updateStrategy.rollingUpdate.maxUnavailable=0"},
		{"updateStrategy.rollingUpdate.maxSurge=0", "updateStrategy.rollingUpdate.maxUnavailable=1"},
		{"updateStrategy.rollingUpdate=null"},
		{"config.healthProbeBindAddress=[::]:65535", "config.metricsBindAddress=127.0.0.1:1"},
		{"updateStrategy.type=OnDelete"},
		{"priorityClassName="},
		{"image.repository=registry.example.com:5000/a/b_c"},
		{"global.anything=1"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			t.Parallel()
			load(t, render(t, set...))
		})
	}
}
