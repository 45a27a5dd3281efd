package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

func FuzzPrintable(f *testing.F) {
	for in, want := range map[string]string{
		"":                    "",
		"/data löwe 数":        "/data löwe 数",
		"a\x1b[31m\nb\tc\x00": "a?[31m?b?c?",
		"\u202egnp.exe":       "?gnp.exe",
		"\u009b2J\u2028":      "?2J?",
		"half \xff\xfe":       "half ?",
	} {
		if got := text.Printable(in); got != want {
			f.Errorf("%q: %q, want %q", in, got, want)
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := text.Printable(in)
		for _, r := range out {
			if !unicode.IsPrint(r) {
				t.Errorf("%q: %q is left in %q", in, r, out)
			}
		}
		if !utf8.ValidString(out) || text.Printable(out) != out {
			t.Errorf("%q: %q", in, out)
		}
	})
}

// A note is one line that fits an event, whatever it was made of, and carries no secret.
func TestNote(t *testing.T) {
	long := strings.Repeat("löwe", 300)
	for in, want := range map[string]string{
		"two\nlines\x00":               "two lines ",
		"\u202egnp.exe":                " gnp.exe",
		"sftp://jane:pass@host failed": "sftp://REDACTED@host failed",
		long:                           text.Cut(long, text.MaxNote),
	} {
		if got := text.Note(in); got != want || len(got) > text.MaxNote {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
