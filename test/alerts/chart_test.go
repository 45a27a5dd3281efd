package alerts

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rendered  = "../chart/testdata/service-monitor.yaml" // by the tests of package chart, with every alert
	dashboard = "../../charts/mountwarden/dashboards/mountwarden.json"
	metrics   = "../../docs/metrics.md"
)

// alert is a rule as the Prometheus Operator hands it over.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// chartRules are the chart's alerts.
func chartRules(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(rendered)
	must(t, err)
	documents := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var object struct {
			Kind string
			Spec struct{ Groups []struct{ Rules []alert } }
		}
		err := documents.Decode(&object)
		if errors.Is(err, io.EOF) {
			t.Fatalf("no PrometheusRule in %s", rendered)
		}
		must(t, err)
		if object.Kind == "PrometheusRule" {
			return object.Spec.Groups[0].Rules
		}
	}
}

// panel is a part of the dashboard.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
}

type board struct {
	Panels     []panel
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

func panels(t *testing.T) board {
	t.Helper()
	text, err := os.ReadFile(dashboard)
	must(t, err)
	var b board
	must(t, json.Unmarshal(text, &b))
	return b
}

// metric is a line of docs/metrics.md, which is made from what the agent registers.
type metric struct {
	kind   string
	labels []string
}

// documented are the series an agent has, by name. A histogram has three.
func documented(t *testing.T) map[string]metric {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(metrics))
	must(t, err)
	all := map[string]metric{}
	for _, line := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(text), -1) {
		m := metric{kind: line[2], labels: strings.Fields(strings.ReplaceAll(line[3], "`", ""))}
		if m.kind != "histogram" {
			all[line[1]] = m
			continue
		}
		all[line[1]+"_sum"], all[line[1]+"_count"] = m, m
		all[line[1]+"_bucket"] = metric{kind: m.kind, labels: append(slices.Clone(m.labels), "le")}
	}
	if len(all) < 20 {
		t.Fatalf("only %d series in %s", len(all), metrics)
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
