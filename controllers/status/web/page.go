package web

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/mountwarden/mountwarden/controllers/status"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// writePage writes the page.
func writePage(to io.Writer, s status.Snapshot, filter status.Filter) error {
	title := say(s.Node + " - Mountwarden")
	if s.Summary.Failed > 0 {
		title = join(say(fmt.Sprintf("%d failed: ", s.Summary.Failed)), title)
	}
	states := each(status.States(), func(state string) markup {
		if state == filter.State {
			return join("<option selected>", say(state), "</option>")
		}
		return join("<option>", say(state), "</option>")
	})
	fill := strings.NewReplacer( // looks at nothing that it has filled in
		"$TITLE", string(title), "$STYLE", pageCSS, "$HEADING", string(say("Mountwarden on "+s.Node)), "$NEWS", string(say(s.Headline())),
		"$NAMESPACE", string(say(filter.Namespace)), "$POD", string(say(filter.Pod)), "$STATES", string(states), "$SCRIPT", pageJS,
	)
	before, after, _ := strings.Cut(pageHTML, "$LIVE")
	w := writer{bufio.NewWriterSize(to, 16<<10)}
	w.put(markup(fill.Replace(before)))
	w.live(s)
	w.put(markup(fill.Replace(after)))
	return w.Flush()
}

// policy is the page's Content-Security-Policy: nothing but its own style and script, and the latter may ask this server alone.
func policy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		hash(pageCSS), hash(pageJS))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
