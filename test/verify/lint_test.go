package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/test/internal/tool"
)

const (
	config = "../../.golangci.yml"
	module = "github.com/mountwarden/mountwarden/"
)

// issue is what golangci-lint prints of one finding.
type issue struct {
	FromLinter string
	Text       string
	Pos        struct{ Filename string }
}

// lint runs the pinned golangci-lint with our configuration over a module made of files, in one of its folders.
func lint(t *testing.T, linters, dir string, files map[string]string) []issue {
	t.Helper()
	linter, err := tool.Path(t.Context(), "golangci-lint")
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	files[".golangci.yml"] = string(settings)
	root := write(t, files)
	cmd := exec.CommandContext(t.Context(), linter, "run", "--config", filepath.Join(root, ".golangci.yml"), "--enable-only", linters,
		"--uniq-by-line=false", "--issues-exit-code=0", "--allow-parallel-runners", "--output.json.path=stdout", "--show-stats=false", "./...")
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+t.TempDir(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	var report struct{ Issues []issue }
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return report.Issues
}

// goMod is the go.mod of a module that needs nothing.
func goMod(name string) string { return "module " + strings.TrimSuffix(name, "/") + "\n\ngo 1.26.0\n" }

// arrow is an import that a rule forbids, in one folder.
type arrow struct{ rule, dir, imports string }

// arrows has one line for each import that must be refused.
func arrows() []arrow {
	return []arrow{
		{"nobody-imports-cmd", "config", module + "cmd/mountwarden"},
		{"nobody-imports-cmd", "controllers/podmount", module + "cmd/mountwarden"},
		{"nobody-imports-cmd", "cmd/mountwarden", module + "cmd/mountwarden-probe"},
		{"nobody-imports-cmd", "probes/node", module + "test/faultfs"},
		{"nobody-imports-cmd-in-test", "test/e2e", module + "cmd/mountwarden"},
		{"probes-know-no-kubernetes", "probes/node", "k8s.io/api/core/v1"},
		{"probes-know-no-kubernetes", "probes/proc", "sigs.k8s.io/controller-runtime"},
		{"probes-know-no-kubernetes", "probes/check", module + "config"},
		{"probes-know-no-kubernetes", "probes/internal/sys", module + "controllers/verdict"},
		{"probes-know-no-kubernetes", "probes", "k8s.io/apimachinery/pkg/types"},
		{"nouns-do-no-io", "probes", "os"},
		{"nouns-do-no-io", "probes", module + "probes/mountinfo"},
		{"mountinfo-is-plain-go", "probes/mountinfo", module + "probes"},
		{"mountinfo-is-plain-go", "probes/mountinfo", "github.com/moby/sys/mountinfo"},
		{"view-is-pure", "probes/view", "os"},
		{"view-is-pure", "probes/view", module + "probes/proc"},
		{"check-stays-small", "probes/check", "fmt"},
		{"check-stays-small", "probes/check", "os"},
		{"check-stays-small", "cmd/mountwarden-probe", "net/http"},
		{"check-stays-small", "probes/internal/sys", module + "probes/mountinfo"},
		{"check-stays-small", "probes/check", module + "probes/proc"},
		{"csi-knows-the-registration-only", "probes/backend/csi", "k8s.io/api/core/v1"},
		{"csi-knows-the-registration-only", "probes/backend/csi", module + "controllers/verdict"},
		{"only-csi-speaks-grpc", "probes/backend", "google.golang.org/grpc"},
		{"only-csi-speaks-grpc", "cmd/mountwarden", "github.com/container-storage-interface/spec/lib/go/csi"},
		{"only-csi-speaks-grpc", "controllers/remediate", "k8s.io/kubelet/pkg/apis/pluginregistration/v1"},
		{"only-the-program-answers", "probes/backend", module + "probes/backend/csi"},
		{"only-the-program-answers", "cmd/mountwarden", module + "probes/backend/answer"},
		{"nfs-is-plain-go", "probes/backend/nfs", module + "probes/node"},
		{"ask-is-plain-go", "probes/backend/ask", module + "probes/node"},
		{"only-sys-calls-the-kernel", "probes/node", "golang.org/x/sys/unix"},
		{"only-sys-calls-the-kernel", "cmd/mountwarden", "golang.org/x/sys/unix"},
		{"config-is-a-leaf", "config", module + "controllers"},
		{"config-is-a-leaf", "config", module + "probes/node"},
		{"config-is-a-leaf", "config", "k8s.io/client-go/kubernetes"},
		{"config-is-a-leaf", "config", "sigs.k8s.io/controller-runtime/pkg/client"},
		{"verdict-is-pure", "controllers/verdict", "k8s.io/api/core/v1"},
		{"verdict-is-pure", "controllers/verdict", "os"},
		{"verdict-is-pure", "controllers/verdict", module + "probes/node"},
		{"verdict-is-pure", "controllers/verdict", module + "config"},
		{"podmount-knows-interfaces", "controllers/podmount", module + "probes/node"},
		{"podmount-knows-interfaces", "controllers/podmount", module + "controllers/remediate"},
		{"podmount-knows-interfaces", "controllers/podmount", module + "controllers/metrics"},
		{"podmount-is-handed-its-writer", "controllers/podmount", module + "controllers/condition"},
		{"condition-writes-only", "controllers/condition", module + "controllers/verdict"},
		{"condition-writes-only", "controllers/condition", module + "probes"},
		{"condition-writes-only", "controllers/condition", module + "config"},
		{"remediate-acts-only", "controllers/remediate", module + "probes/node"},
		{"remediate-acts-only", "controllers/remediate", module + "controllers/podmount"},
		{"remediate-acts-only", "controllers/remediate", module + "controllers/metrics"},
		{"remediate-acts-only", "controllers/remediate", module + "controllers/followup"},
		{"followup-watches-only", "controllers/followup", module + "probes/stuck"},
		{"followup-watches-only", "controllers/followup", module + "controllers/podmount"},
		{"followup-watches-only", "controllers/followup", module + "controllers/remediate"},
		{"followup-watches-only", "controllers/followup", module + "controllers/metrics"},
		{"stuck-reads-text", "probes/stuck", module + "probes/worker"},
		{"stuck-reads-text", "probes/stuck", module + "probes/internal/sys"},
		{"ledger-keeps-books-only", "controllers/ledger", module + "probes/node"},
		{"ledger-keeps-books-only", "controllers/ledger", module + "controllers/podmount"},
		{"ledger-keeps-books-only", "controllers/ledger", module + "controllers/remediate"},
		{"ledger-keeps-books-only", "controllers/ledger", module + "controllers/followup"},
		{"ledger-keeps-books-only", "controllers/ledger", module + "controllers/metrics"},
		{"no-templates", "controllers/status/web", "html/template"},
		{"no-templates", "cmd/mountwarden", "text/template"},
		{"status-tells-only", "controllers/status", module + "probes/node"},
		{"status-tells-only", "controllers/status", module + "controllers/podmount"},
		{"status-tells-only", "controllers/status", module + "controllers/remediate"},
		{"status-tells-only", "controllers/status/web", module + "controllers/followup"},
		{"status-tells-only", "controllers/status", module + "controllers/ledger"},
		{"status-tells-only", "controllers/status", "k8s.io/client-go/kubernetes"},
		{"nobody-decides-by-status", "controllers/remediate", module + "controllers/status"},
		{"nobody-decides-by-status", "controllers/podmount", module + "controllers/status"},
		{"agents-ask-only", "controllers/agents", module + "probes"},
		{"agents-ask-only", "controllers/agents", module + "config"},
		{"agents-ask-only", "controllers/agents", module + "controllers/podmount"},
		{"agents-ask-only", "controllers/agents", module + "controllers/remediate"},
		{"httpserver-is-plain-go", "controllers/httpserver", "k8s.io/client-go/rest"},
		{"httpserver-is-plain-go", "controllers/httpserver", module + "controllers/metrics"},
		{"only-metrics-imports-prometheus", "controllers/podmount", "github.com/prometheus/client_golang/prometheus"},
		{"only-metrics-imports-prometheus", "cmd/mountwarden", "github.com/prometheus/client_golang/prometheus"},
	}
}

// allowed has imports that no rule refuses.
func allowed() []arrow {
	return []arrow{
		{"", "cmd/mountwarden", module + "controllers/remediate"},
		{"", "probes/internal/sys", "golang.org/x/sys/unix"},
		{"", "probes/node", module + "probes/mountinfo"},
		{"", "probes/view", module + "probes/mountinfo"},
		{"", "probes/backend", module + "probes/view"},
		{"", "probes/backend/csi", "google.golang.org/grpc"},
		{"", "probes/backend/csi", "k8s.io/kubelet/pkg/apis/pluginregistration/v1"},
		{"", "probes/backend/answer", module + "probes/backend/csi"},
		{"", "cmd/mountwarden-backend", module + "probes/backend/answer"},
		{"", "probes/check", "errors"},
		{"", "config", module + "probes"},
		{"", "config", "k8s.io/api/core/v1"},
		{"", "controllers/verdict", module + "probes"},
		{"", "controllers/verdict", "time"},
		{"", "controllers/podmount", module + "controllers/verdict"},
		{"", "controllers/remediate", "k8s.io/client-go/kubernetes"},
		{"", "controllers/condition", "k8s.io/client-go/kubernetes/typed/core/v1"},
		{"", "controllers/metrics", "github.com/prometheus/client_golang/prometheus"},
		{"", "controllers/status/web", module + "controllers/status"},
		{"", "controllers/status", module + "controllers/verdict"},
		{"", "test/faultfs", "golang.org/x/sys/unix"},
		{"", "test/e2e", module + "config"},
	}
}

// source lays out one file for each arrow and returns the file of each.
func source(all []arrow) (files map[string]string, paths []string) {
	const empty = "package empty\n" // a module with no file is an error
	files = map[string]string{"go.mod": goMod(module), "empty/x.go": empty, "test/go.mod": goMod(module + "test"), "test/empty/x.go": empty}
	for i, a := range all {
		file := path.Join(a.dir, fmt.Sprintf("x%d.go", i))
		files[file] = fmt.Sprintf("package x\n\nimport _ %q\n", a.imports)
		paths = append(paths, file)
	}
	return files, paths
}

// refusals maps each file to the rules that fired on it. The test module is a run of its own, as in `make lint`.
func refusals(t *testing.T, all []arrow) (rules map[string][]string, paths []string) {
	t.Helper()
	files, paths := source(all)
	rules = map[string][]string{}
	for _, issue := range slices.Concat(lint(t, "depguard", ".", maps.Clone(files)), lint(t, "depguard", "test", files)) {
		for _, rule := range regexp.MustCompile(`from list '(.*?)'`).FindAllStringSubmatch(issue.Text, -1) {
			rules[issue.Pos.Filename] = append(rules[issue.Pos.Filename], rule[1])
		}
	}
	return rules, paths
}

// Each rule has a module of its own: all together the arrows would be an import cycle, of which nothing is reported.
func TestEveryArrowIsARule(t *testing.T) {
	byRule := map[string][]arrow{}
	for _, a := range arrows() {
		byRule[a.rule] = append(byRule[a.rule], a)
	}
	for rule, all := range byRule {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			fired, paths := refusals(t, all)
			for i, a := range all {
				if !slices.Contains(fired[paths[i]], rule) {
					t.Errorf("%s imports %s: it does not fire, only %v", a.dir, a.imports, fired[paths[i]])
				}
			}
		})
	}
}

func TestAllowedImportsAreAllowed(t *testing.T) {
	rules, paths := refusals(t, allowed())
	for i, a := range allowed() {
		if fired := rules[paths[i]]; len(fired) > 0 {
			t.Errorf("%s imports %s: refused by %v", a.dir, a.imports, fired)
		}
	}
}

// A rule that no line of the table tries could be dead.
func TestNoRuleIsUntried(t *testing.T) {
	settings, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	_, rules, found := strings.Cut(string(settings), "    depguard:\n      rules:\n")
	if !found {
		t.Fatal("no depguard rules in " + config)
	}
	rules, _, _ = strings.Cut(rules, "\n    errcheck:")
	names := regexp.MustCompile(`(?m)^ {8}([a-z-]+):$`).FindAllStringSubmatch(rules, -1)
	if len(names) < 10 {
		t.Fatalf("only %d rules found", len(names))
	}
	for _, name := range names {
		if !slices.ContainsFunc(arrows(), func(a arrow) bool { return a.rule == name[1] }) {
			t.Errorf("rule %s is tried by no line", name[1])
		}
	}
}

func TestWallRulesAreLinted(t *testing.T) {
	sources := map[string]string{
		"config/init.go":               "package config\n\nfunc init() {}\n",
		"config/global.go":             "package config\n\nvar counter = map[string]int{}\n\nfunc count() { counter[\"\"]++ }\n",
		"config/sentinel.go":           "package config\n\nimport \"errors\"\n\n// ErrX is fine.\nvar ErrX = errors.New(\"x\")\n",
		"config/sleep.go":              "package config\n\nimport \"time\"\n\nfunc sleep() { time.Sleep(1) }\n",
		"config/sleep_test.go":         "package config\n\nimport \"time\"\n\nfunc sleepInTest() { time.Sleep(1) }\n",
		"config/exit.go":               "package config\n\nimport \"os\"\n\nfunc exit() { os.Exit(1) }\n",
		"config/fatal.go":              "package config\n\nimport \"log\"\n\nfunc fatal() { log.Fatal() }\n",
		"config/panic.go":              "package config\n\nfunc oops() { panic(1) }\n",
		"config/now.go":                "package config\n\nimport \"time\"\n\nfunc now() time.Time { return time.Now() }\n",
		"controllers/verdict/now.go":   "package verdict\n\nimport \"time\"\n\nfunc now() time.Time { return time.Now() }\n",
		"cmd/mountwarden/main.go":      "package main\n\nimport \"os\"\n\nfunc main() { os.Exit(1) }\n",
		"cmd/mountwarden/elsewhere.go": "package main\n\nimport \"os\"\n\nfunc elsewhere() { os.Exit(1) }\n",
		"config/compare.go":            "package config\n\nimport \"io\"\n\nfunc ended(err error) bool { return err == io.EOF }\n",
		"config/wrap.go":               "package config\n\nimport \"fmt\"\n\nfunc wrapped(err error) error { return fmt.Errorf(\"x: %v\", err) }\n",
		"config/exported.go":           "package config\n\nfunc Exported() {}\n",
	}
	want := map[string]string{
		"config/init.go": "gochecknoinits", "config/global.go": "gochecknoglobals", "config/sleep.go": "forbidigo", "config/sleep_test.go": "forbidigo",
		"config/exit.go": "forbidigo", "config/fatal.go": "forbidigo", "config/panic.go": "forbidigo", "controllers/verdict/now.go": "forbidigo",
		"cmd/mountwarden/elsewhere.go": "forbidigo", "config/compare.go": "errorlint", "config/wrap.go": "errorlint", "config/exported.go": "revive",
	}
	files := maps.Clone(sources)
	files["go.mod"] = goMod(module)
	fired := map[string][]string{}
	for _, issue := range lint(t, "gochecknoinits,gochecknoglobals,forbidigo,errorlint,revive", ".", files) {
		if !strings.Contains(issue.Text, "package comment") { // none has one, here
			fired[issue.Pos.Filename] = append(fired[issue.Pos.Filename], issue.FromLinter)
		}
	}
	for file := range sources {
		if want[file] == "" && len(fired[file]) > 0 || want[file] != "" && !slices.Contains(fired[file], want[file]) {
			t.Errorf("%s: %v fired, want %q", file, fired[file], want[file])
		}
	}
}
