package docs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// alert is one of the chart's.
type alert struct{ Key, Alert string }

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	must(t, yaml.Unmarshal([]byte(readFile(t, "charts/mountwarden/files/alerts.yaml")), &all))
	if len(all) < 10 {
		t.Fatalf("only %d alerts", len(all))
	}
	return all
}

// rule is when an alert fires, and how loud.
type rule struct{ For, Severity string }

func rules(t *testing.T) map[string]rule {
	t.Helper()
	var values struct {
		PrometheusRule struct{ Rules map[string]rule }
	}
	must(t, yaml.Unmarshal([]byte(readFile(t, "charts/mountwarden/values.yaml")), &values))
	return values.PrometheusRule.Rules
}

// lacks is what a runbook does not have.
func lacks(p page, a alert, r rule) (found []string) {
	var titles []string
	commands := 0
	for _, h := range p.headings {
		titles = append(titles, h.text)
	}
	for _, b := range p.blocks {
		if b.section == "diagnosis" && b.kind == "sh" {
			commands++
		}
	}
	if want := []string{a.Alert, "Meaning", "Impact", "Diagnosis", "Mitigation"}; !slices.Equal(titles, want) {
		found = append(found, fmt.Sprintf("the headings are %q, want %q", titles, want))
	}
	if want := fmt.Sprintf("\nRule %#q: %s, after %s.\n", a.Key, r.Severity, r.For); !strings.Contains(p.words, want) {
		found = append(found, fmt.Sprintf("it does not say %q", want))
	}
	if commands == 0 {
		found = append(found, "there is no command under Diagnosis")
	}
	return found
}

func TestEveryAlertHasItsRunbook(t *testing.T) {
	all, set := byPath(pages(t)), rules(t)
	wanted := map[string]bool{"README.md": true}
	for _, a := range alerts(t) {
		wanted[a.Alert+".md"] = true
		for _, problem := range lacks(all["docs/runbooks/"+a.Alert+".md"], a, set[a.Key]) {
			t.Errorf("%s: %s", a.Alert, problem)
		}
	}
	paths, err := filepath.Glob(filepath.Join(root, "docs", "runbooks", "*"))
	must(t, err)
	for _, path := range paths {
		if !wanted[filepath.Base(path)] {
			t.Errorf("%s is for no alert", path)
		}
	}
}

func TestBadRunbooksAreFound(t *testing.T) {
	const good = "# A\n\nRule `a`: info, after 1m.\n\n## Meaning\n\n## Impact\n\n## Diagnosis\n\n```sh\nkubectl get pods\n```\n\n## Mitigation\n"
	check := func(text string) string {
		return strings.Join(lacks(parse("a.md", []byte(text)), alert{"a", "A"}, rule{"1m", "info"}), "\n")
	}
	if got := check(good); got != "" {
		t.Errorf("a good one: %s", got)
	}
	for spoil, want := range map[[2]string]string{
		{"## Impact", "## Effect"}:  "headings",
		{"## Impact\n", ""}:         "headings",
		{"# A", "# B"}:              "headings",
		{"after 1m", "after 2m"}:    "does not say",
		{"info", "warning"}:         "does not say",
		{"```sh", "```text"}:        "no command",
		{"## Meaning\n\n", "text "}: "headings",
	} {
		if got := check(strings.Replace(good, spoil[0], spoil[1], 1)); !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", spoil, got, want)
		}
	}
}
