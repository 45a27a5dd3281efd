package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDocumentationIsCurrent(t *testing.T) {
	rs := records{"../.."}
	want, err := rs.document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(rs.documentPath())
	if err != nil || string(got) != want {
		t.Errorf("docs/kernels.md is out of date: run make test-kernels UPDATE=1 (%v)", err)
	}
}

// Every kernel that is tested has a record, and of the same scenarios.
func TestRecordsAreComplete(t *testing.T) {
	var first record
	for i, k := range kernels() {
		r, err := records{"../.."}.read(k.series)
		if err != nil || len(r.Rows) == 0 || !strings.HasPrefix(r.Release, k.series+".") {
			t.Fatalf("%s: %d scenarios of %q, %v", k.series, len(r.Rows), r.Release, err)
		}
		if i == 0 {
			first = r
		}
		for _, o := range r.Rows {
			if first.find(o.Scenario) < 0 || len(r.Rows) != len(first.Rows) {
				t.Errorf("%s: %q, and %d of %d", k.series, o.Scenario, len(r.Rows), len(first.Rows))
			}
		}
	}
}

func kept(t *testing.T, rows ...outcome) string {
	t.Helper()
	text, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecord(t *testing.T) {
	said := transcript{release: "6.1.0", kept: map[string]string{
		labRows:  `[{"Scenario":"a","Want":"x","Verdict":"Failed: Hung","Shows":"a|b","Result":"y","Seconds":41.6}]`,
		diskRows: "[]",
		nfsRows:  kept(t, outcome{Scenario: "b", Verdict: "stays: Healthy", Shows: "good answers", Seconds: 60}),
	}}
	r, err := recordOf(said)
	if err != nil || len(r.Rows) != 2 || r.Rows[0] != (outcome{"a", "Failed: Hung", `a\|b`, 42}) || r.Rows[1].Seconds != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	said.kept[nfsRows] = "{"
	if _, err := recordOf(said); !errors.Is(err, errRecord) {
		t.Errorf("nonsense: %v", err)
	}
	delete(said.kept, nfsRows)
	if _, err := recordOf(said); !errors.Is(err, errRecord) {
		t.Errorf("nothing: %v", err)
	}
}

func TestNeutral(t *testing.T) {
	for text, want := range map[string]string{
		"ENOTCONN from fstatfs": "ENOTCONN from fstatfs", "a|b": `a\|b`, "": "",
		`the host has mounted the volume anew, as 0:58 at "/var/lib/x"; here: no answer`: "the host has mounted the volume anew",
		`not mounted at "/x"`: "not mounted",
	} {
		if got := neutral(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestDifferences(t *testing.T) {
	before := record{Rows: []outcome{{"a", "Failed: Hung", "x", 1}, {"b", "stays: Healthy", "", 0}, {"gone", "stays: Healthy", "", 0}}}
	now := record{Rows: []outcome{{"a", "Failed: Hung", "y", 9}, {"b", "Failed: Stale", "", 0}, {"new", "stays: Healthy", "", 0}}}
	got := strings.Join(before.differences(now), "\n")
	want := `"b" became "Failed: Stale", and was "stays: Healthy"
"new" is new (stays: Healthy)
"gone" is no scenario any more`
	if got != want {
		t.Errorf("%s", got)
	}
	if d := before.differences(before); len(d) != 0 {
		t.Errorf("%v", d)
	}
}

func TestDocument(t *testing.T) {
	all := make([]record, len(kernels()))
	for i := range all {
		all[i] = record{Release: "r", Rows: []outcome{{"same", "Failed: Hung", "no answer", 42}, {"differs", "Failed: ReadOnly", "x", i}, {"fine", "stays: Healthy", "", 0}}}
	}
	all[1].Rows[1] = outcome{"differs", "stays: Healthy", "good", 0}
	all[2].Rows[1].Shows = "y"
	text := document(all)
	for _, want := range []string{
		"| same | Hung | no answer | 42 s | 42 s | 42 s | 42 s |\n", "| differs | ReadOnly |  | x, 0 s | not seen | y, 2 s | x, 3 s |\n", "\n1 look-alikes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
}

func TestRecordsAreKept(t *testing.T) {
	rs := records{t.TempDir()}
	if err := os.Mkdir(filepath.Join(rs.root, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := record{Release: "6.1.0", Rows: []outcome{{"a", "Failed: Hung", "x", 1}}}
	if err := rs.write("6.1", want); err != nil {
		t.Fatal(err)
	}
	got, err := rs.read("6.1")
	if err != nil || len(got.differences(want)) != 0 || got.Release != want.Release {
		t.Errorf("%+v, %v", got, err)
	}
	text, err := os.ReadFile(rs.documentPath())
	if err != nil || !strings.Contains(string(text), "| a | Hung | x |") {
		t.Errorf("%s, %v", text, err)
	}
}
