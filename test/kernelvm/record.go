package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// record is what became of every scenario of the lab on one kernel. It is kept in testdata, and docs/kernels.md is made of all of them.
type record struct {
	Release string
	Rows    []outcome
}

// outcome is what became of one.
type outcome struct {
	Scenario string
	Verdict  string // in the words of package lab, such as "Failed: Hung"
	Shows    string // of a failure: what the kernel answered or showed
	Seconds  int    // of a failure: from it to the decision, with default settings
}

// isFailure reports whether the pod is to be removed.
func (o outcome) isFailure() bool { return strings.HasPrefix(o.Verdict, "Failed: ") }

// errRecord is wrapped when the lab has not handed over what became of its scenarios.
var errRecord = errors.New("the lab has not told what became of its scenarios")

// recordOf reads what a guest has handed over.
func recordOf(said transcript) (record, error) {
	r := record{Release: said.release}
	for _, file := range []string{labRows, nfsRows, diskRows} {
		text, ok := said.kept[file]
		if !ok {
			return r, fmt.Errorf("%w: %s", errRecord, file)
		}
		var rows []struct {
			Scenario, Verdict, Shows string
			Seconds                  float64
		}
		if err := json.Unmarshal([]byte(text), &rows); err != nil {
			return r, fmt.Errorf("%w: %s: %w", errRecord, file, err)
		}
		for _, row := range rows {
			o := outcome{Scenario: row.Scenario, Verdict: row.Verdict}
			if o.isFailure() {
				o.Shows, o.Seconds = neutral(row.Shows), int(math.Round(row.Seconds))
			}
			r.Rows = append(r.Rows, o)
		}
	}
	return r, nil
}

// neutral is a text without what differs from run to run: where the detail of an observation quotes a path, it ends before that.
func neutral(shows string) string {
	shows, _, _ = strings.Cut(shows, `"`)
	shows = regexp.MustCompile(`,? (?:as|is|at) *(?:\d+:\d+ at)? *$`).ReplaceAllString(shows, "")
	return strings.ReplaceAll(strings.TrimRight(shows, " :,"), "|", `\|`)
}

// differences are the scenarios that did not become what they became when the record was written. What a kernel shows, and after how many seconds
// a pod is to be removed, may differ from run to run.
func (r record) differences(now record) (list []string) {
	for _, o := range now.Rows {
		i := r.find(o.Scenario)
		switch {
		case i < 0:
			list = append(list, fmt.Sprintf("%q is new (%s)", o.Scenario, o.Verdict))
		case r.Rows[i].Verdict != o.Verdict:
			list = append(list, fmt.Sprintf("%q became %q, and was %q", o.Scenario, o.Verdict, r.Rows[i].Verdict))
		}
	}
	for _, o := range r.Rows {
		if now.find(o.Scenario) < 0 {
			list = append(list, fmt.Sprintf("%q is no scenario any more", o.Scenario))
		}
	}
	return list
}

func (r record) find(scenario string) int {
	return slices.IndexFunc(r.Rows, func(o outcome) bool { return o.Scenario == scenario })
}

// records are the files of a clone.
type records struct{ root string }

func (rs records) path(series string) string {
	return filepath.Join(rs.root, "test", "kernelvm", "testdata", series+".json")
}

func (rs records) read(series string) (r record, err error) {
	text, err := os.ReadFile(rs.path(series))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// write keeps the record and the document that is made of all.
func (rs records) write(series string, r record) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(rs.path(series)), 0o755), os.WriteFile(rs.path(series), append(text, '\n'), 0o644)); err != nil {
		return err
	}
	document, err := rs.document()
	if err != nil {
		return err
	}
	return os.WriteFile(rs.documentPath(), []byte(document), 0o644)
}

func (rs records) documentPath() string { return filepath.Join(rs.root, "docs", "kernels.md") }

// document reads all records.
func (rs records) document() (string, error) {
	var all []record
	for _, k := range kernels() {
		r, err := rs.read(k.series)
		if err != nil {
			return "", err
		}
		all = append(all, r)
	}
	return document(all), nil
}
