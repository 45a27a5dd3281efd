package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/test/internal/tool"
)

// A small play with crashing agents comes to its end without a violation, and tells what it has seen.
func TestShort(t *testing.T) {
	output := filepath.Join(t.TempDir(), "storm.json")
	var text bytes.Buffer
	args := []string{"--short", "--only", "chaos", "--failures", "40", "--output", output}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		path, err := tool.Path(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, "--"+name, path)
	}
	err := run(t.Context(), args, &text)
	t.Log(text.String())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	removals, crashes := 0, 0
	for _, r := range got.Results {
		removals, crashes = removals+r.Removals, crashes+sum(r.Crashes)
	}
	if len(got.Results) != 2 || removals == 0 || crashes == 0 {
		t.Errorf("%d plays, %d removals, %d crashes", len(got.Results), removals, crashes)
	}
}

func TestOptions(t *testing.T) {
	if _, err := parse([]string{"--only", "dead,sunshine"}); err == nil || !strings.Contains(err.Error(), `"sunshine" is no scenario`) {
		t.Error(err)
	}
	o, err := parse([]string{"--only", "five"})
	if err != nil || !o.wants("five") || o.wants("dead") {
		t.Errorf("%+v %v", o, err)
	}
	o, err = parse([]string{"--only", "dead-2"})
	if err != nil || !o.wants("dead", "dead-2") || o.wants("dead", "dead-1") {
		t.Errorf("one cast: %+v %v", o, err)
	}
}

// The settings of every cast are such as an agent takes, and no two casts have a name in common.
func TestSettingsAreValid(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range []options{{Nodes: 500}, {Short: true}} {
		for _, s := range scenarios(o) {
			for _, c := range s.casts {
				c.config.Namespace, c.config.NodeName = "agents", "node"
				if err := c.config.Validate(); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if o.Short && seen[c.name] {
					t.Errorf("%s twice", c.name)
				}
				if o.Short {
					seen[c.name] = true
				}
			}
		}
	}
}
