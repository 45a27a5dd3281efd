package alerts

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is from one sample to the next, and from one evaluation to the next.
const step = time.Minute

// prometheus is the query engine over series in memory. Prometheus' own storage and rules would be five times as much to compile.
type prometheus struct {
	engine *promql.Engine
	series []storage.Series
}

// newPrometheus reads one series a line, as promtool does. A series that pauses is one that is no longer scraped: stale.
func newPrometheus(t *testing.T, text string) prometheus {
	t.Helper()
	p := prometheus{engine: promql.NewEngine(promql.EngineOpts{MaxSamples: 100000, Timeout: time.Minute})}
	t.Cleanup(func() { must(t, p.engine.Close()) })
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		metric, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(strings.TrimSpace(line))
		must(t, err)
		series := promql.Series{Metric: metric}
		for i, v := range values {
			if v.Omitted {
				v.Value = math.Float64frombits(value.StaleNaN)
			}
			series.Floats = append(series.Floats, promql.FPoint{T: (time.Duration(i) * step).Milliseconds(), F: v.Value})
		}
		p.series = append(p.series, promql.NewStorageSeries(series))
	}
	return p
}

// heldFor returns what an expression has at a time, and has had at each evaluation for so long.
func (p prometheus) heldFor(t *testing.T, expression string, hold, at time.Duration) []promql.Sample {
	t.Helper()
	queryable := &storage.MockQueryable{MockQuerier: &storage.MockQuerier{SelectMockFunction: p.find}}
	query, err := p.engine.NewRangeQuery(t.Context(), queryable, nil, expression, time.UnixMilli(0).Add(max(at-hold, 0)), time.UnixMilli(0).Add(at), step)
	must(t, err)
	defer query.Close()
	result := query.Exec(t.Context())
	must(t, result.Err)
	matrix, err := result.Matrix()
	must(t, err)
	var held []promql.Sample
	for _, series := range matrix {
		if points := series.Floats; len(points) == int(hold/step)+1 {
			held = append(held, promql.Sample{Metric: series.Metric.Copy(), T: points[len(points)-1].T, F: points[len(points)-1].F})
		}
	}
	return held
}

func (p prometheus) find(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &set{}
	for _, s := range p.series {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Labels().Get(m.Name)) }) {
			found.rest = append(found.rest, s)
		}
	}
	return found
}

// set is a storage.SeriesSet.
type set struct {
	at   storage.Series
	rest []storage.Series
}

func (s *set) Next() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.at, s.rest = s.rest[0], s.rest[1:]
	return true
}

func (s *set) At() storage.Series                { return s.at }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }
