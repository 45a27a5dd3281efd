package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 100, 0.9: 180, 0.99: 198, 1: 200} {
		if got := quantile(all, q); got != want {
			t.Errorf("%v of 1 to 200 is %d, want %d", q, got, want)
		}
	}
	if got := quantile(all[:1], 0.5); got != 1 {
		t.Errorf("of one: %d", got)
	}
}

// A limit says whether it is kept, in the table and in the file.
func TestReport(t *testing.T) {
	r := newReport()
	r.add("rest", "free", 1.5, "ms")
	r.limit("rest", "kept", 5, "x", 5)
	r.limit("rest", "broken", 5.01, "x", 5)
	r.note("of %d", 7)
	var table strings.Builder
	r.print(&table)
	for _, want := range []string{"free    1.5 ms", "kept    5 x     limit 5: ok", "broken  5.01 x  limit 5: EXCEEDED  of 7"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
	file := filepath.Join(t.TempDir(), "out.json")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), `"Within": `) != 2 || !strings.Contains(string(text), `"Kernel": "`) {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestMeter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpu")
	for _, row := range []struct {
		text string
		m    meter
		want time.Duration
	}{
		{"12345\n", meter{file, "", time.Nanosecond}, 12345},
		{"nr_periods 1\nusage_usec 17\nuser_usec 3\n", meter{file, "usage_usec ", time.Microsecond}, 17 * time.Microsecond},
	} {
		if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := row.m.used(); err != nil || got != row.want {
			t.Errorf("%q: %s %v", row.text, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	if _, err := parse([]string{"--only", "look,lok"}); err == nil || !strings.Contains(err.Error(), `"lok"`) {
		t.Errorf("an unknown part: %v", err)
	}
	o, err := parse([]string{"--short", "--only", "rest"})
	if err != nil || o.Kills != 5 || parts()[1].wanted(o.Only) == parts()[0].wanted(o.Only) {
		t.Errorf("%+v %v", o, err)
	}
}
