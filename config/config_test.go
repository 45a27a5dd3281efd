package config_test

import (
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/mountwarden/mountwarden/config"
)

// valid returns the defaults, made complete.
func valid() config.Config {
	c := config.Default()
	c.NodeName, c.Namespace = "node-1", "mountwarden"
	return c
}

// load reads a configuration from a file's text, an environment and a command line.
func load(t *testing.T, file string, environment map[string]string, args ...string) (config.Config, []config.Warning, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags, func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	})
}

// requireInvalid checks that an error rejects something and says all of these words.
func requireInvalid(t *testing.T, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("error is %v, want one that is ErrInvalid", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error does not say %q: %v", word, err)
		}
	}
}

func TestDefaultIsTheDocumentedPolicy(t *testing.T) {
	want := config.Defaults{
		Mode: "Remediate", Action: "Evict",
		PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 3, InitialDelaySeconds: 0, HangSeconds: 40, SettleSeconds: 0,
	}
	if diff := cmp.Diff(want, config.Default().Defaults); diff != "" {
		t.Errorf("defaults differ from docs (-want +got):\n%s", diff)
	}
	if err := valid().Validate(); err != nil {
		t.Errorf("the defaults, a node's name and a namespace's are not valid: %v", err)
	}
}

func TestDefaultGuards(t *testing.T) {
	c := config.Default()
	if !c.CheckBackends || c.AbortStuckFUSE || c.FollowUpSeconds != 300 {
		t.Errorf("checkBackends %v, abortStuckFUSE %v, followUpSeconds %d", c.CheckBackends, c.AbortStuckFUSE, c.FollowUpSeconds)
	}
	want := config.Backoff{InitialSeconds: 10, MaxSeconds: 300, ForgetSeconds: 600, MaxAttempts: 5} // the kubelet's, and where it ends
	if diff := cmp.Diff(want, c.Backoff); diff != "" {
		t.Errorf("backoff (-want +got):\n%s", diff)
	}
	if window, cooldown := c.Budgets.Window(), c.Storm.Cooldown(); window != time.Minute || cooldown != 30*time.Second {
		t.Errorf("a window of %s, a cooldown of %s", window, cooldown)
	}
	if c.Budgets.Node > c.Budgets.Namespace || c.Budgets.Namespace > c.Budgets.Cluster || c.Storm.Threshold > c.Budgets.Node {
		t.Errorf("budgets %+v, storm %+v", c.Budgets, c.Storm)
	}
}

func TestSelector(t *testing.T) {
	team := labels.Set{"team": "data"}
	for _, tc := range []struct {
		selector string
		matches  bool
	}{
		{"", true},
		{"team", true},
		{"team=data", true},
		{"team in (web,data)", true},
		{"team!=data", false},
		{"!team", false},
		{"team=data,env", false},
	} {
		selector, err := config.Limits{NamespaceSelector: tc.selector}.Selector()
		if err != nil {
			t.Fatalf("%q: %v", tc.selector, err)
		}
		if got := selector.Matches(team); got != tc.matches {
			t.Errorf("%q matches %v: got %v, want %v", tc.selector, team, got, tc.matches)
		}
	}
	_, err := config.Limits{NamespaceSelector: "team=="}.Selector()
	if err != nil {
		t.Errorf("an empty value is a legal label value: %v", err)
	}
	_, err = config.Limits{NamespaceSelector: "=data"}.Selector()
	requireInvalid(t, err, "limits.namespaceSelector", "=data")
}

// What is printed loads to the same configuration, whatever it is.
func TestYAMLRoundTrip(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 300 {
		want := arbitrary(random)
		text, err := want.YAML()
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := load(t, string(text), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("differs after a round trip (-want +got):\n%s\n%s", diff, text)
		}
	}
}

// arbitrary returns a configuration that can be written, though not one that makes sense.
func arbitrary(random *rand.Rand) config.Config {
	text := func() string {
		return []string{"", "a", "true", "null", "~", "0x10", "- a", "a: b", "x\ny", "\t", "é", `"'`, "#", "*a", "&a", "!!int 1"}[random.Intn(16)]
	}
	number := func() int { return random.Intn(2_000_001) - 1_000_000 }
	truth := func() bool { return random.Intn(2) == 0 }
	lists := [][]config.Action{nil, {"Evict"}, {"Delete", "Evict"}, {"null"}}
	return config.Config{
		NodeName: text(), Namespace: text(), DryRun: truth(), MetricsBindAddress: text(), HealthProbeBindAddress: text(), StatusBindAddress: text(),
		LogFormat: text(), LogLevel: number(), ProcRoot: text(), WorkerPath: text(),
		MaxWorkers: number(), MaxParkedWorkers: number(), Events: truth(), BlockedSeconds: number(),
		CheckBackends: truth(), FollowUpSeconds: number(), AbortStuckFUSE: truth(),
		Budgets: config.Budgets{WindowSeconds: number(), Node: number(), Namespace: number(), Cluster: number()},
		Storm:   config.Storm{Threshold: number(), CooldownSeconds: number()},
		Backoff: config.Backoff{InitialSeconds: number(), MaxSeconds: number(), ForgetSeconds: number(), MaxAttempts: number()},
		KubeAPI: config.KubeAPI{QPS: number(), Burst: number()},
		Defaults: config.Defaults{
			Mode: config.Mode(text()), Action: config.Action(text()), PeriodSeconds: number(), TimeoutSeconds: number(),
			FailureThreshold: number(), InitialDelaySeconds: number(), HangSeconds: number(), SettleSeconds: number(),
		},
		Limits: config.Limits{
			MinPeriodSeconds: number(), AllowedActions: lists[random.Intn(len(lists))],
			AllowUnmanaged: truth(), NamespaceSelector: text(),
		},
	}
}

// Every field of Config is a setting of the file, in the same order, and there are no others.
func TestKeysAreTheFieldsOfConfig(t *testing.T) {
	text, err := config.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(leaves("", document.Content[0]), config.Keys()); diff != "" {
		t.Errorf("Keys and the printed configuration differ (-printed +keys):\n%s", diff)
	}
}

func leaves(section string, n *yaml.Node) []string {
	if n.Kind != yaml.MappingNode {
		return []string{strings.TrimPrefix(section, ".")}
	}
	var keys []string
	for i := 0; i < len(n.Content); i += 2 {
		keys = append(keys, leaves(section+"."+n.Content[i].Value, n.Content[i+1])...)
	}
	return keys
}

func TestFlagsAreDerivedFromKeys(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	var names []string
	flags.VisitAll(func(f *pflag.Flag) {
		names = append(names, f.Name)
		if f.Usage == "" {
			t.Errorf("--%s has no usage", f.Name)
		}
	})
	if got, want := len(names), len(config.Keys())+1; got != want {
		t.Errorf("%d flags, want one a key and --config: %d", got, want)
	}
	for _, name := range []string{"config", "node-name", "namespace", "dry-run", "metrics-bind-address", "kube-api-qps", "max-parked-workers", "check-backends",
		"abort-stuck-fuse", "budgets-window-seconds", "storm-threshold", "backoff-max-attempts", "defaults-period-seconds", "limits-allowed-actions"} {
		if !slices.Contains(names, name) {
			t.Errorf("no flag --%s among %v", name, names)
		}
	}
}

func TestFlagUsageShowsDefaults(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags)
	for name, want := range map[string][2]string{
		"metrics-bind-address":   {"string", ":8080"},
		"max-workers":            {"int", "16"},
		"dry-run":                {"bool", "false"},
		"check-backends":         {"bool", "true"},
		"budgets-cluster":        {"int", "120"},
		"limits-allowed-actions": {"list", "Evict,Delete"},
		"defaults-mode":          {"string", "Remediate"},
		"defaults-action":        {"string", "Evict"},
	} {
		f := flags.Lookup(name)
		if f.Value.Type() != want[0] || f.DefValue != want[1] {
			t.Errorf("--%s is a %s with default %q, want %v", name, f.Value.Type(), f.DefValue, want)
		}
	}
}

func TestSomeFlags(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags, "statusBindAddress", "dryRun")
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if want := []string{"config", "dry-run", "status-bind-address"}; !slices.Equal(names, want) {
		t.Errorf("flags %v, want %v", names, want)
	}
	if err := flags.Parse([]string{"--status-bind-address=127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(flags, func(name string) (string, bool) { return "7", name == "MOUNTWARDEN_MAX_WORKERS" })
	if err != nil || c.StatusBindAddress != "127.0.0.1:1" || c.MaxWorkers != 7 {
		t.Errorf("loaded %+v, %v", c, err)
	}
}
