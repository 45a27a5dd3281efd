package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/mountwarden/mountwarden/config"
)

func TestLayers(t *testing.T) {
	const file = "maxWorkers: 1\nlogLevel: 1\nblockedSeconds: 1\n"
	environment := map[string]string{"MOUNTWARDEN_LOG_LEVEL": "2", "MOUNTWARDEN_BLOCKED_SECONDS": "2"}
	got, warnings, err := load(t, file, environment, "--blocked-seconds=3")
	if err != nil || warnings != nil {
		t.Fatalf("warnings %v, error %v", warnings, err)
	}
	want := config.Default()
	want.MaxWorkers, want.LogLevel, want.BlockedSeconds = 1, 2, 3
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("file, environment and flag did not win in this order (-want +got):\n%s", diff)
	}
}

func TestNothingSaidIsDefault(t *testing.T) {
	for _, file := range []string{"", "{}", "# a comment\n", " \n"} {
		got, _, err := load(t, file, nil)
		if err != nil {
			t.Fatalf("%q: %v", file, err)
		}
		if diff := cmp.Diff(config.Default(), got); diff != "" {
			t.Errorf("%q is not the default (-want +got):\n%s", file, diff)
		}
	}
}

// What differs from pod to pod comes from the downward API, under the names that manifests use by
// convention.
func TestNodeNameAndNamespace(t *testing.T) {
	for name, tc := range map[string]struct {
		environment map[string]string
		args        []string
		node        string
		namespace   string
	}{
		"nowhere":         {nil, nil, "from-file", "from-file"},
		"by convention":   {map[string]string{"NODE_NAME": "a", "POD_NAMESPACE": "x"}, nil, "a", "x"},
		"one of the two":  {map[string]string{"POD_NAMESPACE": "x"}, nil, "from-file", "x"},
		"by our variable": {map[string]string{"NODE_NAME": "a", "MOUNTWARDEN_NODE_NAME": "b", "POD_NAMESPACE": "x", "MOUNTWARDEN_NAMESPACE": "y"}, nil, "b", "y"},
		"by flag":         {map[string]string{"NODE_NAME": "a", "POD_NAMESPACE": "x"}, []string{"--node-name", "c", "--namespace", "z"}, "c", "z"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := load(t, "nodeName: from-file\nnamespace: from-file\n", tc.environment, tc.args...)
			if err != nil || got.NodeName != tc.node || got.Namespace != tc.namespace {
				t.Errorf("got %q and %q, %v, want %q and %q", got.NodeName, got.Namespace, err, tc.node, tc.namespace)
			}
		})
	}
}

// The kubelet's variables for a Service named mountwarden are none of ours.
func TestForeignVariablesAreIgnored(t *testing.T) {
	environment := map[string]string{
		"MOUNTWARDEN_SERVICE_HOST": "10.0.0.1", "MOUNTWARDEN_PORT": "tcp://10.0.0.1:8080", "MOUNTWARDEN_PORT_8080_TCP": "x",
	}
	got, _, err := load(t, "", environment)
	if diff := cmp.Diff(config.Default(), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestFileAccepts(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		want func(*config.Config)
	}{
		"yaml": {
			"dryRun: true\nlimits:\n  allowedActions:\n  - Evict\n",
			func(c *config.Config) { c.DryRun, c.Limits.AllowedActions = true, []config.Action{"Evict"} },
		},
		"json with tabs": {
			"{\n\t\"logLevel\": 4,\n\t\"defaults\": {\"mode\": \"Report\", \"action\": \"Delete\"}\n}\n",
			func(c *config.Config) { c.LogLevel, c.Defaults.Mode, c.Defaults.Action = 4, "Report", "Delete" },
		},
		"guards": {
			"checkBackends: false\nabortStuckFUSE: true\nfollowUpSeconds: 60\nbudgets: {node: 1, cluster: 60}\nstorm:\n  threshold: 2\nbackoff: {maxAttempts: 3}\n",
			func(c *config.Config) {
				c.CheckBackends, c.AbortStuckFUSE, c.FollowUpSeconds = false, true, 60
				c.Budgets.Node, c.Budgets.Cluster, c.Storm.Threshold, c.Backoff.MaxAttempts = 1, 60, 2, 3
			},
		},
		"list as text":   {"limits: {allowedActions: 'Delete, Evict'}", func(c *config.Config) { c.Limits.AllowedActions = []config.Action{"Delete", "Evict"} }},
		"empty list":     {"limits: {allowedActions: []}", func(c *config.Config) { c.Limits.AllowedActions = nil }},
		"quoted number":  {`maxWorkers: "3"`, func(c *config.Config) { c.MaxWorkers = 3 }},
		"number as text": {`nodeName: 17`, func(c *config.Config) { c.NodeName = "17" }},
	} {
		t.Run(name, func(t *testing.T) {
			want := config.Default()
			tc.want(&want)
			got, _, err := load(t, tc.file, nil)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestFileRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		file  string
		words []string
	}{
		"unknown key":              {"\nmaxWorker: 3\n", []string{"line 2", `"maxWorker"`, "maxWorkers"}},
		"unknown key in a section": {"limits:\n  minPeriod: 3\n", []string{"line 2", `"limits.minPeriod"`, "limits.minPeriodSeconds"}},
		"unknown budget":           {"budgets:\n  window: 3\n", []string{"line 2", `"budgets.window"`, "budgets.windowSeconds"}},
		"budget is a number":       {"budgets: 5", []string{"line 1", "budgets", `"5"`, "mapping"}},
		"text for a budget":        {"storm: {threshold: all}", []string{"storm.threshold", `"all"`, "int"}},
		"key of another case":      {"MaxWorkers: 3", []string{"line 1", `"MaxWorkers"`}},
		"dotted key":               {"defaults.periodSeconds: 3", []string{"line 1", `"defaults.periodSeconds"`}},
		"flag's name":              {"max-workers: 3", []string{`"max-workers"`}},
		"key that is a list":       {"? [a]\n: 3\n", []string{"line 1"}},
		"key that is an alias":     {"nodeName: &dryRun x\n*dryRun : true\n", []string{"line 2", `"dryRun"`}},
		"key below a key":          {"maxWorkers: {a: 1}", []string{"maxWorkers", "int"}},
		"empty key":                {`"": 3`, []string{`key ""`}},
		"merge key":                {"defaults: &a {periodSeconds: 3}\nlimits:\n  <<: *a\n", []string{"line 3", "limits.<<"}},
		"key twice":                {"logLevel: 1\nlogLevel: 1\n", []string{"line 2", "logLevel", "line 1"}},
		"section twice":            {"limits: {}\nlimits: {}\n", []string{"line 2", "limits"}},
		"key twice in JSON":        {`{"logLevel":1,"logLevel":2}`, []string{"logLevel"}},
		"two documents":            {"logLevel: 1\n---\nlogLevel: 2\n", []string{"more than one document"}},
		"broken second document":   {"logLevel: 1\n---\n}", []string{"more than one document"}},
		"no mapping":               {"- logLevel", []string{"line 1", "document", "mapping"}},
		"null document":            {"---\n", []string{"document"}},
		"section is text":          {"limits: none", []string{"line 1", "limits", `"none"`, "mapping"}},
		"section is an alias":      {"defaults: &a {periodSeconds: 3}\nlimits: *a\n", []string{"line 2", "limits"}},
		"no value":                 {"logLevel:\n", []string{"line 1", "logLevel", "int"}},
		"null":                     {"nodeName: null", []string{"nodeName"}},
		"alias":                    {"nodeName: &a x\nlogFormat: *a\n", []string{"line 2", "logFormat", "plain"}},
		"list for text":            {"nodeName: [a]", []string{"nodeName"}},
		"mapping in a list":        {"limits: {allowedActions: [{a: 1}]}", []string{"limits.allowedActions"}},
		"mapping for a list":       {"limits: {allowedActions: {a: 1}}", []string{"limits.allowedActions"}},
		"null in a list":           {"limits: {allowedActions: [null]}", []string{"limits.allowedActions"}},
		"text for a number":        {"a: 1\nmaxWorkers: many", []string{"line 1", "line 2", "maxWorkers", `"many"`, "int"}},
		"fraction":                 {"maxWorkers: 1.5", []string{"maxWorkers", `"1.5"`}},
		"huge number":              {"maxWorkers: 99999999999999999999", []string{"maxWorkers"}},
		"YAML 1.1 truth":           {"dryRun: yes", []string{"dryRun", `"yes"`, "bool"}},
		"broken":                   {"logLevel: [", []string{"invalid file"}},
		"tab":                      {"limits:\n\tminPeriodSeconds: 1", []string{"line 2"}},
		"binary":                   {"\x00\x01", []string{"invalid file"}},
		"too large":                {"# " + strings.Repeat("x", 1<<20), []string{"larger than 1048576 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, tc.file, nil)
			requireInvalid(t, err, append(tc.words, "config.yaml")...)
		})
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	environment := map[string]string{"MOUNTWARDEN_MAX_WORKERS": "many", "MOUNTWARDEN_DRY_RUN": "perhaps"}
	_, _, err := load(t, "x: 1\ny: 2\n", environment)
	requireInvalid(t, err, `"x"`, `"y"`, "MOUNTWARDEN_MAX_WORKERS", "maxWorkers", "MOUNTWARDEN_DRY_RUN", `"perhaps"`)
}

func TestLargestFileIsRead(t *testing.T) {
	const setting = "logLevel: 7\n#"
	got, _, err := load(t, setting+strings.Repeat("x", 1<<20-len(setting)), nil)
	if err != nil || got.LogLevel != 7 {
		t.Errorf("a file of exactly 1 MiB: logLevel %d, %v", got.LogLevel, err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	if _, _, err := load(t, "", nil, "--config", missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := load(t, "", nil, "--config", t.TempDir()); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: %v", err)
	}
}

func TestWarnsOfFilesThatEverybodyMayWrite(t *testing.T) {
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o664: false, 0o646: true, 0o602: true, 0o777: true} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte("logLevel: 1"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		got, warnings, err := load(t, "", nil, "--config", path)
		if err != nil || got.LogLevel != 1 {
			t.Fatalf("mode %#o: logLevel %d, %v", mode, got.LogLevel, err)
		}
		if warned := len(warnings) == 1 && strings.Contains(string(warnings[0]), path); warned != warns {
			t.Errorf("mode %#o: warnings %v, want one: %v", mode, warnings, warns)
		}
	}
}

func TestFlags(t *testing.T) {
	got, _, err := load(t, "", nil, "--dry-run", "--limits-allowed-actions=Delete,Evict", "--kube-api-qps=7", "--defaults-mode=Report", "--defaults-action=Delete")
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.DryRun, want.KubeAPI.QPS, want.Defaults.Mode, want.Defaults.Action = true, 7, "Report", "Delete"
	want.Limits.AllowedActions = []config.Action{"Delete", "Evict"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlagsRefuse(t *testing.T) {
	for _, arg := range []string{"--max-workers=many", "--max-workers=", "--max-workers=1.5", "--dry-run=perhaps", "--no-such-flag", "--kube-api-burst"} {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags.SetOutput(t.Output())
		config.AddFlags(flags)
		if err := flags.Parse([]string{arg}); err == nil {
			t.Errorf("%s was accepted", arg)
		}
	}
}

func TestLoadNeedsItsFlags(t *testing.T) {
	if _, _, err := config.Load(pflag.NewFlagSet("empty", pflag.ContinueOnError), os.LookupEnv); err == nil {
		t.Error("a flag set that has not seen AddFlags was accepted")
	}
}

// FuzzFile checks that no text of a file panics, and that what is accepted can be printed and
// loaded again.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "logLevel: 1", "limits: {allowedActions: [Evict]}", `{"defaults": {"mode": "Report"}}`, "a: &a [*a]", "? {}\n: 1", "--- 1\n--- 2", "nodeName: |\n x\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, _, err := load(t, text, nil)
		if err != nil {
			requireInvalid(t, err)
			return
		}
		printed, err := first.YAML()
		if err != nil {
			t.Fatal(err)
		}
		second, _, err := load(t, string(printed), nil)
		if diff := cmp.Diff(first, second); err != nil || diff != "" {
			t.Errorf("%v (-first +second):\n%s", err, diff)
		}
	})
}
