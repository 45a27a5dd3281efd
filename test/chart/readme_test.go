package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What stands between these lines of the README is made from values.yaml.
const (
	begin = "<!-- values.yaml: do not edit below, run `go generate ./chart` in test/ -->\n"
	end   = "<!-- values.yaml: end -->\n"
)

// TestReadme holds the chart's README against values.yaml; with -update it writes it.
func TestReadme(t *testing.T) {
	path := filepath.Join(chartDir, "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), begin)
	_, after, ends := strings.Cut(rest, end)
	if !begins || !ends {
		t.Fatalf("%s lacks %q or %q", path, begin, end)
	}
	golden(t, path, before+begin+valuesTable(t)+end+after)
}

// valuesTable lists all values as Markdown.
func valuesTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n| value | default | meaning |\n|---|---|---|\n")
	for _, v := range valuesOf(t) {
		key, initial := strings.Join(v.path, "."), ""
		if v.comment == "" {
			t.Errorf("%s has no comment in values.yaml", key)
		}
		if v.section {
			key = "**" + key + "**"
		} else {
			key, initial = "`"+key+"`", "`"+compact(t, v.node)+"`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", key, initial, strings.ReplaceAll(v.comment, "|", "\\|"))
	}
	b.WriteString("\n")
	return b.String()
}

// compact is the default as JSON.
func compact(t *testing.T, node *yaml.Node) string {
	t.Helper()
	var value any
	if err := node.Decode(&value); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
