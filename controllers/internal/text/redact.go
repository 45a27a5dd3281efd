package text

import (
	"regexp"
	"strings"
)

// What may be a secret in a mount's source, or in an error that quotes one.
var (
	// //user:secret@host, user:secret@host
	urlUserInfo = regexp.MustCompile(`(//|\b[^\s/:@]+:)[^\s/@]+@`)
	// https://host/path?signature
	urlQuery = regexp.MustCompile(`(://[^\s?]*)\?[^\s"')]+`)
	// password=secret
	secretOption = regexp.MustCompile(`(?i)((?:pass|pwd|secret|token|key|cred|auth|sig)[a-z_-]*=)("[^"]*"|[^\s,;&"')]+)`)
)

const redacted = "REDACTED"

// Redact replaces what may be a secret. Mount options are not shown anywhere, but a FUSE server
// chooses its source freely, and some put a URL with credentials there.
func Redact(s string) string {
	if !strings.ContainsAny(s, "@?=") {
		return s
	}
	s = urlUserInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	s = urlQuery.ReplaceAllString(s, "${1}?"+redacted)
	return secretOption.ReplaceAllString(s, "${1}"+redacted)
}
