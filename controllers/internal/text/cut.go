// Package text makes texts fit to be shown to people: short, printable, without secrets.
//
// Do not use it for names that must stay different: two long ones may become the same.
package text

import "strings"

// Cut shortens s to a limit in bytes, which is more than 3, and marks that with "...". It leaves no
// part of a character.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "..."
}
