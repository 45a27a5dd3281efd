package text

import (
	"strings"
	"unicode"
)

// MaxNote is the API server's limit of an event's note, in bytes (events.k8s.io/v1).
const MaxNote = 1024

// Note makes text an event's note, parts of which may come from a mount table or a driver: one line
// without secrets, no longer than MaxNote.
func Note(s string) string { return Cut(Redact(replaceUnprintable(s, ' ')), MaxNote) }

// Printable replaces each character that is not printable by "?", so that untrusted text forges no
// line and controls no terminal. These are control characters, characters that change the direction
// of writing, and invalid UTF-8.
func Printable(s string) string { return replaceUnprintable(s, '?') }

// replaceUnprintable replaces each character that is not printable.
func replaceUnprintable(s string, by rune) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return by
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
