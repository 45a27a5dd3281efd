package script

import (
	"testing"
	"time"
)

func TestEnded(t *testing.T) {
	for _, want := range []Ended{{"lab", 0, 1500 * time.Millisecond}, {"x", -1, 0}} {
		if got, ok := ParseEnded(want.String()); !ok || got != want {
			t.Errorf("%q became %+v, %t", want, got, ok)
		}
	}
	for _, line := range []string{
		"", "done", "job lab begins", "job lab ended with x after 1s", "job lab ended with 0 after never", "job lab ended with 0 after 1s or so",
	} {
		if e, ok := ParseEnded(line); ok {
			t.Errorf("%q became %+v", line, e)
		}
	}
}

func TestKept(t *testing.T) {
	name, text, ok := ParseKept(Kept("/tmp/x", `[{"a": "b c"}]`+"\n"))
	if !ok || name != "/tmp/x" || text != `[{"a": "b c"}]` {
		t.Errorf("%q %q %t", name, text, ok)
	}
	for _, line := range []string{"", "file", "file x", "job lab begins"} {
		if name, text, ok := ParseKept(line); ok {
			t.Errorf("%q became %q %q", line, name, text)
		}
	}
}

func TestSaid(t *testing.T) {
	job, text, ok := ParseSaid(Said("lab", "--- PASS: TestA: (1s)"))
	if !ok || job != "lab" || text != "--- PASS: TestA: (1s)" {
		t.Errorf("%q %q %t", job, text, ok)
	}
	for _, line := range []string{"", "in lab", "kernel 6.1", Kept("/x", "in x: y")} {
		if job, text, ok := ParseSaid(line); ok {
			t.Errorf("%q became %q %q", line, job, text)
		}
	}
}
