package text

import (
	"strings"
	"unicode"
)

// MaxNote is the API server's limit of an event's note, in bytes (events.k8s.io/v1).
const MaxNote = 1024

// Note makes text an event's note, parts of which may come from a mount table or a driver: one line without secrets, no longer than MaxNote.
func Note(s string) string { return Cut(Redact(replaced(s, ' ')), MaxNote) }

// Printable replaces what is no printable character by "?", so that untrusted text forges no line and steers no terminal: control
// characters, characters that turn the direction of writing, and what is no UTF-8.
func Printable(s string) string { return replaced(s, '?') }

func replaced(s string, by rune) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return by
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
