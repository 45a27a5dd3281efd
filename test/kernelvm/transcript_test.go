package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

// saidBy is the transcript of a guest that says the lines.
func saidBy(lines ...string) (t transcript) {
	for _, line := range lines {
		t.take(line)
	}
	return t
}

func own(line string) string { return script.Mark + line }

func said(line string) string { return own(script.Said("lab", line)) }

func goodRun(more ...string) []string {
	lines := []string{
		own("kernel 6.1.0-56-cloud-amd64"), said("=== RUN   TestA"), said("--- PASS: TestA (0.00s)"), said("    --- PASS: TestA/of_it (0.00s)"),
		said("--- SKIP: TestB (0.00s)"), own(script.Kept(labRows, "[]")), "--- FAIL: TestC (0.00s)",
	}
	return append(append(lines, more...), own(script.Ended{Job: "lab", Took: time.Second}.String()), own(script.Done))
}

func TestTranscript(t *testing.T) {
	got := saidBy(goodRun(said("some output: of a test"), said("--- a line of dashes"))...)
	if got.release != "6.1.0-56-cloud-amd64" || got.passed != 2 || len(got.failed) != 0 || got.kept[labRows] != "[]" || len(got.trouble) != 0 {
		t.Errorf("%+v", got)
	}
	if len(got.skipped) != 1 || got.skipped[0] != "lab TestB" {
		t.Errorf("skipped: %q", got.skipped)
	}
	var text strings.Builder
	got.summary(&text)
	if want := "Linux 6.1.0-56-cloud-amd64: 2 tests passed, 0 failed, 1 skipped: lab 1 s\n"; text.String() != want {
		t.Errorf("%q", text.String())
	}
}

func TestProblems(t *testing.T) {
	lab := []suite{{name: "lab"}}
	for _, row := range []struct {
		name  string
		lines []string
		want  string // among the problems
	}{
		{"a test is skipped", goodRun(), "skipped: lab TestB"},
		{"a test has failed", goodRun(said("    --- FAIL: TestA/x (0.00s)")), "failed: lab TestA/x"},
		{"the guest complains", goodRun(own("load the module x: no")), "load the module x"},
		{"it ends badly", []string{said("--- PASS: TestA (0.00s)"), own(script.Ended{Job: "lab", Code: 2}.String())}, "lab ended with 2"},
		{"it does not end", []string{said("--- PASS: TestA (0.00s)")}, "lab has not ended"},
		{"nothing runs", []string{own(script.Ended{Job: "lab"}.String())}, "no test has passed"},
		{"good", []string{said("--- PASS: TestA (0.00s)"), own(script.Ended{Job: "lab"}.String())}, ""},
	} {
		run := saidBy(row.lines...)
		got := strings.Join(run.problems(lab), "\n")
		if (got == "") != (row.want == "") || !strings.Contains(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
