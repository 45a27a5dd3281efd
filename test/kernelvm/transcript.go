package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/test/kernelvm/internal/script"
)

// transcript is what a guest has said.
type transcript struct {
	release string
	ended   []script.Ended
	kept    map[string]string // file -> its one line
	skipped []string          // tests, as "JOB TestName"
	failed  []string
	passed  int
	trouble []string // what the guest itself says that is none of the above
}

// take reads one line. What does not bear the guest's mark is of the kernel, or a part of a line.
func (t *transcript) take(line string) {
	own, ok := strings.CutPrefix(line, script.Mark)
	if !ok {
		return
	}
	if job, text, ok := script.ParseSaid(own); ok {
		t.takeOutput(job, text)
		return
	}
	t.takeOwn(own)
}

// takeOutput reads a line of a test's output.
func (t *transcript) takeOutput(job, line string) {
	verdict, rest, _ := strings.Cut(strings.TrimLeft(line, " "), ": ")
	name, _, _ := strings.Cut(rest, " (")
	switch name = job + " " + name; verdict {
	case "--- PASS":
		t.passed++
	case "--- SKIP":
		t.skipped = append(t.skipped, name)
	case "--- FAIL":
		t.failed = append(t.failed, name)
	}
}

func (t *transcript) takeOwn(line string) {
	if name, text, ok := script.ParseKept(line); ok {
		if t.kept == nil {
			t.kept = map[string]string{}
		}
		t.kept[name] = text
		return
	}
	if e, ok := script.ParseEnded(line); ok {
		t.ended = append(t.ended, e)
		return
	}
	release, ok := strings.CutPrefix(line, "kernel ")
	switch {
	case line == script.Done:
	case ok:
		t.release = release
	default:
		t.trouble = append(t.trouble, line)
	}
}

// problems are why the run has failed, none when it has not. A guest has all that the tests need, so that a skipped one is a fault.
func (t *transcript) problems(all []suite) (list []string) {
	list = append(list, t.trouble...)
	for _, s := range all {
		i := slices.IndexFunc(t.ended, func(e script.Ended) bool { return e.Job == s.name })
		switch {
		case i < 0:
			list = append(list, s.name+" has not ended")
		case t.ended[i].Code != 0:
			list = append(list, fmt.Sprintf("%s ended with %d", s.name, t.ended[i].Code))
		}
	}
	for _, name := range t.failed {
		list = append(list, "failed: "+name)
	}
	for _, name := range t.skipped {
		list = append(list, "skipped: "+name)
	}
	if t.passed == 0 {
		list = append(list, "no test has passed")
	}
	return list
}

// summary says in one line what was run.
func (t *transcript) summary(w io.Writer) {
	var parts []string
	for _, e := range t.ended {
		parts = append(parts, fmt.Sprintf("%s %.0f s", e.Job, e.Took.Seconds()))
	}
	fmt.Fprintf(w, "Linux %s: %d tests passed, %d failed, %d skipped: %s\n", t.release, t.passed, len(t.failed), len(t.skipped), strings.Join(parts, ", "))
}
