// Package text shortens what is written for people, where the API bounds its length.
//
// Do not use it for names that must stay apart: two long ones may become the same.
package text

import "strings"

// Cut shortens s to a limit in bytes, which is more than 3, and shows that it did. It leaves no part of a character.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-3], "") + "..."
}
