package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTail(t *testing.T) {
	var long strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&long, "line %d of many, which is long enough to need more than a tail\n", i)
	}
	for _, c := range []struct{ name, log, first, last string }{
		{"empty", "", "", ""},
		{"one line", "alone\n", "alone", "alone"},
		{"no newline at the end", "a\nb", "a", "b"},
		{"long", long.String(), "line 980", "line 999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(Tail(path), "\n")
			if !strings.HasPrefix(lines[0], c.first) || !strings.HasPrefix(lines[len(lines)-1], c.last) {
				t.Errorf("got %q", lines)
			}
		})
	}
	if got := Tail(filepath.Join(t.TempDir(), "none")); !strings.HasPrefix(got, "no log: ") {
		t.Errorf("a missing log: %q", got)
	}
}

func TestDescribe(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]string{
		0:       "exit status 0",
		2 << 8:  "exit status 2",
		9:       "killed by signal 9 (killed)",
		11:      "killed by signal 11 (segmentation fault)",
		6 | 128: "killed by signal 6 (aborted)", // with a core dump
	} {
		if got := describe(status); got != want {
			t.Errorf("%#x: got %q, want %q", int(status), got, want)
		}
	}
}
