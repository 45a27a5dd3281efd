package alerts

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// shown are the queries that the documentation shows, by the page and their text.
func shown(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, block := range regexp.MustCompile("```promql\n([^`]*)```").FindAllStringSubmatch(string(text), -1) {
			all[filepath.Base(path)+": "+block[1]] = block[1]
		}
		return err
	}))
	return all
}

// Package docs leaves PromQL to this one: it is understood, and asks for series and labels that there are.
func TestQueriesOfTheDocumentation(t *testing.T) {
	queries := shown(t)
	if len(queries) < 2 {
		t.Fatalf("only %d queries", len(queries))
	}
	for where, text := range queries {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(strings.TrimSpace(text))
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		for _, problem := range problems(expression, documented(t)) {
			t.Errorf("%s: %s", where, problem)
		}
	}
}
