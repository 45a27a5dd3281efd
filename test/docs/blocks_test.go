package docs

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// checker holds one kind of block to its word. It returns what is wrong.
type checker func(w *world, b block) []string

// checkers by what stands behind the fence. What is not among them is claimed by nobody.
func checkers() map[string]checker {
	return map[string]checker{
		"yaml":    checkYAML,
		"json":    checkJSON,
		"sh":      checkShell,
		"console": checkConsole,
		"promql":  func(*world, block) []string { return nil }, // package alerts has Prometheus' parser
		"text":    func(*world, block) []string { return nil }, // output; its names are checked with those of the page
	}
}

// check has a block checked by whom it is for.
func (w *world) check(b block) []string {
	claim, known := checkers()[b.kind]
	if !known {
		return []string{fmt.Sprintf("no checker is for ```%s: call it yaml, json, sh, console, promql or text", b.kind)}
	}
	if strings.TrimSpace(b.text) == "" {
		return []string{"an empty block"}
	}
	return claim(w, b)
}

func checkJSON(_ *world, b block) []string {
	if !json.Valid([]byte(b.text)) {
		return []string{"no valid JSON"}
	}
	return nil
}

// All that needs the world shares one: it takes a while to make.
func TestDocumentation(t *testing.T) {
	w := newWorld(t)
	t.Run("blocks", func(t *testing.T) { everyBlock(t, w) })
	t.Run("examples", func(t *testing.T) { everyExample(t, w) })
	t.Run("commands in the text", func(t *testing.T) { everyCommand(t, w) })
	t.Run("problems are found", func(t *testing.T) { problemsAreFound(t, w) })
}

// everyBlock holds every fenced block to its word.
func everyBlock(t *testing.T, w *world) {
	blocks := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			blocks++
			for _, problem := range w.check(b) {
				t.Errorf("%s: %s", b, problem)
			}
		}
	}
	if blocks < 60 {
		t.Errorf("only %d blocks were seen", blocks)
	}
}

// everyExample does the same for the manifests that the recipes lead to.
func everyExample(t *testing.T, w *world) {
	for name, manifest := range w.examples {
		for _, problem := range checkYAML(w, block{page: "docs/examples/" + name, text: manifest}) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// everyCommand parses what stands between backticks and begins with a program of ours, or with one that can tell its flags.
func everyCommand(t *testing.T, w *world) {
	commands := 0
	for _, p := range pages(t) {
		for _, c := range p.codes {
			first, _, found := strings.Cut(c.text, " ")
			if !found || !slices.Contains([]string{"make", "mountwarden", "go", "kubectl", "helm"}, first) {
				continue
			}
			commands++
			text := c.text
			if first == "kubectl" || first == "helm" { // a sentence may leave out what they are about
				text = strings.Replace(c.text, first, first+"-help", 1)
			}
			for _, problem := range checkShell(w, block{page: p.path, text: text}) {
				t.Errorf("%s:%d: %s", p.path, c.line, problem)
			}
		}
	}
	if commands < 30 {
		t.Errorf("only %d commands were seen", commands)
	}
}

// problemsAreFound proves that the checkers can fail: each of these blocks has one thing that is wrong.
func problemsAreFound(t *testing.T, w *world) {
	for name, tc := range map[string]struct{ kind, text, want string }{
		"unknown kind":       {"toml", "a = 1", "no checker"},
		"no kind":            {"", "output", "no checker"},
		"empty":              {"sh", "\n", "empty"},
		"json":               {"json", "{a: 1}", "JSON"},
		"no YAML":            {"yaml", "a: [", "yaml"},
		"strange YAML":       {"yaml", "nosuch: 1", "neither"},
		"unknown field":      {"yaml", pod("nosuch: 1", ""), "nosuch"},
		"unknown kind of":    {"yaml", "apiVersion: v1\nkind: Nosuch\nmetadata: {name: a}", "Nosuch"},
		"refused by the API": {"yaml", pod("restartPolicy: Sometimes", ""), "Sometimes"},
		"unknown annotation": {"yaml", pod("", "mountwarden.io/nosuch: a"), "mountwarden.io/nosuch"},
		"bad annotation":     {"yaml", pod("", `mountwarden.io/period-seconds: "0"`), "period-seconds"},
		"nothing to watch":   {"yaml", pod("", "mountwarden.io/containers: nobody"), "nobody"},
		"not opted in":       {"yaml", "metadata:\n  annotations:\n    mountwarden.io/mode: Report", "does not opt in"},
		"bad fragment":       {"yaml", "spec:\n  readinessGates: [{conditionType: a b}]", "a b"},
		"bad arguments":      {"yaml", "initContainers:\n  - {name: gate, image: x/mountwarden:1, args: [check, --nosuch, /data]}", "--nosuch"},
		"bad value":          {"yaml", "config:\n  nosuch: 1", "nosuch"},
		"bad value's value":  {"yaml", "config:\n  budgets: {node: 200}", "budgets.node"},

		"no shell":           {"sh", "if", "shell"},
		"unknown program":    {"sh", "frobnicate now", "frobnicate"},
		"unknown target":     {"sh", "make nosuch", "nosuch"},
		"unknown variable":   {"sh", "make test-kernels NOSUCH=1", "NOSUCH"},
		"bad flag":           {"sh", "mountwarden status --nosuch", "nosuch"},
		"unknown command":    {"sh", "mountwarden nosuch", "nosuch"},
		"kubectl's verb":     {"sh", "kubectl nosuch", "nosuch"},
		"kubectl's flag":     {"sh", "kubectl get pods --nosuch", "nosuch"},
		"kubectl's kind":     {"sh", "kubectl get nosuches", "nosuches"},
		"kubectl's object":   {"sh", "kubectl -n shop get pod nosuch", "nosuch"},
		"field selector":     {"sh", "kubectl get events --field-selector nosuch=1", "nosuch"},
		"exec's container":   {"sh", "kubectl -n mountwarden exec ds/nosuch -- mountwarden status", "nosuch"},
		"exec's command":     {"sh", "kubectl -n mountwarden exec ds/mountwarden -- mountwarden status --nosuch", "nosuch"},
		"placeholder":        {"sh", "kubectl get pod SOMETHING", "SOMETHING"},
		"in a pipe":          {"sh", "kubectl -n mountwarden logs ds/mountwarden | frobnicate", "frobnicate"},
		"helm's value":       {"sh", "helm install mountwarden charts/mountwarden -n mountwarden --set nosuch=1", "nosuch"},
		"helm's chart":       {"sh", "helm install mountwarden charts/nosuch", "nosuch"},
		"helm's flag":        {"sh", "helm test mountwarden --nosuch", "nosuch"},
		"helm's verb":        {"sh", "helm nosuch", "nosuch"},
		"helm's upgrade":     {"sh", "helm upgrade mountwarden charts/mountwarden -n mountwarden --set config.logLevel=99", "logLevel"},
		"generated package":  {"sh", "go generate ./nosuch", "nosuch"},
		"foreign image":      {"sh", "cosign verify ghcr.io/somebody/else", "somebody"},
		"substituted":        {"sh", "curl \"$(kubectl get nosuches)\"", "nosuches"},
		"verb in a sentence": {"sh", "kubectl-help nosuch", "nosuch"},
		"flag in a sentence": {"sh", "helm-help test --nosuch", "nosuch"},
		"console":            {"console", "$ make nosuch\nmade", "nosuch"},
		"console, no input":  {"console", "made", "no command"},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(w.check(block{page: "x.md", kind: tc.kind, text: tc.text}), "\n")
			if !strings.Contains(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// pod is a manifest with one more field and one more annotation.
func pod(field, annotation string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations:
    mountwarden.io/watch: "true"
    %s
spec:
  %s
  containers: [{name: app, image: app, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, nfs: {server: a, path: /}}]
`, annotation, field)
}
