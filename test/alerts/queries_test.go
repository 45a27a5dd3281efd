package alerts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// queries are all expressions of the chart, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range chartRules(t) {
		all["alert "+r.Alert] = r.Expr
	}
	for _, p := range panels(t).Panels {
		for i, target := range p.Targets {
			// What Grafana fills in.
			all[fmt.Sprintf("panel %s, query %d", p.Title, i)] = strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(target.Expr)
		}
	}
	return all
}

// foreign are series of kube-state-metrics, and who asks for them.
func foreign() map[string]metric {
	m := metric{kind: "gauge", labels: []string{"namespace", "daemonset"}}
	return map[string]metric{"kube_daemonset_status_desired_number_scheduled": m, "kube_daemonset_status_number_ready": m}
}

// No query asks for a series, or for a label of it, that does not exist: it would never tell anything.
func TestQueriesAskForWhatIsThere(t *testing.T) {
	known := documented(t)
	all := queries(t)
	if len(all) < 30 {
		t.Fatalf("only %d queries", len(all))
	}
	for where, text := range all {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			t.Errorf("%s: %v: %s", where, err, text)
			continue
		}
		series := maps.Clone(known)
		if where == "alert MountwardenAgentAbsent" {
			series = foreign()
		}
		for _, problem := range problems(expression, series) {
			t.Errorf("%s: %s: %s", where, problem, text)
		}
	}
}

// problems are the names in an expression that no series has.
func problems(expression parser.Expr, series map[string]metric) []string {
	var found []string
	has := map[string]bool{"node": true} // the monitors add it
	parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m, known := series[selector.Name]
		if !known {
			found = append(found, fmt.Sprintf("nobody has %s", selector.Name))
			return nil
		}
		for _, l := range m.labels {
			has[l] = true
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != model.MetricNameLabel && !has[matcher.Name] {
				found = append(found, fmt.Sprintf("%s has no label %s", selector.Name, matcher.Name))
			}
		}
		if m.kind == "counter" && !rated(path) {
			found = append(found, fmt.Sprintf("the bare value of the counter %s says nothing", selector.Name))
		}
		return nil
	})
	parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, l := range aggregate.Grouping {
				if !has[l] {
					found = append(found, "no series has the label "+l)
				}
			}
		}
		return nil
	})
	return found
}

// rated reports whether a selector stands in rate or increase.
func rated(path []parser.Node) bool {
	return slices.ContainsFunc(path, func(n parser.Node) bool {
		call, ok := n.(*parser.Call)
		return ok && (call.Func.Name == "rate" || call.Func.Name == "increase")
	})
}

// The check above can fail.
func TestProblemsAreFound(t *testing.T) {
	known := documented(t)
	for text, want := range map[string]string{
		"sum(mountwarden_nosuch)":                                           "nobody has mountwarden_nosuch",
		"mountwarden_probe_duration_seconds":                                "nobody has mountwarden_probe_duration_seconds",
		`mountwarden_remediations_held{why="x"}`:                            "has no label why",
		"sum by (driver) (mountwarden_mount_info)":                          "no series has the label driver",
		"sum(mountwarden_probes_total)":                                     "bare value of the counter",
		"sum by (node, result) (rate(mountwarden_probes_total[5m]))":        "",
		"sum by (le) (rate(mountwarden_probe_duration_seconds_bucket[5m]))": "",
	} {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		must(t, err)
		got := strings.Join(problems(expression, known), "\n")
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestDashboard(t *testing.T) {
	b := panels(t)
	seen, rows := map[int]bool{}, 0
	for i, p := range b.Panels {
		if seen[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d %q: no id or title of its own", p.ID, p.Title)
		}
		seen[p.ID] = true
		if p.Type == "row" {
			rows++
		} else if len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is beyond the right edge", p.Title)
		}
		for _, q := range b.Panels[:i] {
			if overlap(p.GridPos.X, p.GridPos.W, q.GridPos.X, q.GridPos.W) && overlap(p.GridPos.Y, p.GridPos.H, q.GridPos.Y, q.GridPos.H) {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
	}
	var variables []string
	for _, v := range b.Templating.List {
		variables = append(variables, v.Name)
	}
	if rows < 2 || !slices.Equal(variables, []string{"datasource", "node"}) {
		t.Errorf("%d rows, variables %q", rows, variables)
	}
}

func overlap(a, width, b, otherWidth int) bool { return a < b+otherWidth && b < a+width }
