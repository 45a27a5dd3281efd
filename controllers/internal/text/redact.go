package text

import (
	"regexp"
	"strings"
)

// What may be a secret in a mount's source or in an error that quotes one.
var (
	userInfo = regexp.MustCompile(`(//|\b[^\s/:@]+:)[^\s/@]+@`)                                                       // //user:secret@host, user:secret@host
	query    = regexp.MustCompile(`(://[^\s?]*)\?[^\s"')]+`)                                                          // https://host/path?signature
	option   = regexp.MustCompile(`(?i)((?:pass|pwd|secret|token|key|cred|auth|sig)[a-z_-]*=)("[^"]*"|[^\s,;&"')]+)`) // password=secret
)

const redacted = "REDACTED"

// Redact leaves out what may be a secret. No mount options are shown anywhere; a FUSE server chooses its source freely, though, and some
// put a URL with credentials there.
func Redact(s string) string {
	if !strings.ContainsAny(s, "@?=") {
		return s
	}
	s = userInfo.ReplaceAllString(s, "${1}"+redacted+"@")
	s = query.ReplaceAllString(s, "${1}?"+redacted)
	return option.ReplaceAllString(s, "${1}"+redacted)
}
