package text_test

import (
	"testing"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"":                                              "",
		"fuse.faultfs":                                  "fuse.faultfs",
		"server:/export":                                "server:/export",
		"[fd00::1]:/export":                             "[fd00::1]:/export",
		"user@host:/path":                               "user@host:/path",
		"user:secret@host:/path":                        "user:REDACTED@host:/path",
		"https://me:secret@host/dav":                    "https://REDACTED@host/dav",
		"https://token@host/dav":                        "https://REDACTED@host/dav",
		"//me:secret@host/share":                        "//REDACTED@host/share",
		"https://host/c?sv=1&sig=secret":                "https://host/c?REDACTED",
		"what is it? a question":                        "what is it? a question",
		"mount -o password=secret,uid=0 failed":         "mount -o password=REDACTED,uid=0 failed",
		`secret_key="two words" left`:                   `secret_key=REDACTED left`,
		"AWS_SECRET_ACCESS_KEY=secret":                  "AWS_SECRET_ACCESS_KEY=REDACTED",
		`mountwarden.io/mode "x": allowed are a=b, c`:   `mountwarden.io/mode "x": allowed are a=b, c`,
		"dial https://me:p%40ss@h/?sig=secret: refused": "dial https://REDACTED@h/?REDACTED refused",
	} {
		if got := text.Redact(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if once := text.Redact(in); text.Redact(once) != once {
			t.Errorf("%q: twice is not once: %q", in, text.Redact(once))
		}
	}
}
