package text

import (
	"strings"
	"unicode"
)

// Printable replaces what is no printable character by "?", so that untrusted text forges no line and steers no terminal: control
// characters, characters that turn the direction of writing, and what is no UTF-8.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
