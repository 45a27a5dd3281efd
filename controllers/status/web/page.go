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
	title := escapeHTML(s.Node + " - Mountwarden")
	if s.Summary.Failed > 0 {
		title = joinMarkup(escapeHTML(fmt.Sprintf("%d failed: ", s.Summary.Failed)), title)
	}
	states := renderEach(status.States(), func(state string) markup {
		if state == filter.State {
			return joinMarkup("<option selected>", escapeHTML(state), "</option>")
		}
		return joinMarkup("<option>", escapeHTML(state), "</option>")
	})
	fill := strings.NewReplacer( // does not replace in what it has filled in
		"$TITLE", string(title), "$STYLE", pageCSS, "$HEADING", string(escapeHTML("Mountwarden on "+s.Node)), "$NEWS", string(escapeHTML(s.Headline())),
		"$NAMESPACE", string(escapeHTML(filter.Namespace)), "$POD", string(escapeHTML(filter.Pod)), "$STATES", string(states), "$SCRIPT", pageJS,
	)
	before, after, _ := strings.Cut(pageHTML, "$LIVE")
	w := pageWriter{bufio.NewWriterSize(to, 16<<10)}
	w.writeMarkup(markup(fill.Replace(before)))
	w.writeContent(s)
	w.writeMarkup(markup(fill.Replace(after)))
	return w.Flush()
}

// buildSecurityPolicy returns the page's Content-Security-Policy. It allows nothing but the page's
// own style and script, and the script may send requests to this server only.
func buildSecurityPolicy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		hashSource(pageCSS), hashSource(pageJS))
}

func hashSource(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
