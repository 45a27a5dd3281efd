package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/status"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// page is the template of the page.
type page struct{ template *template.Template }

func newPage() page {
	functions := template.FuncMap{
		"plain": text.Printable,
		"rfc":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
	return page{template.Must(template.New("page").Funcs(functions).Parse(pageHTML))}
}

// view is what the template shows.
type view struct {
	status.Snapshot
	Filter status.Filter
	Rows   []status.Row
	States []string
	Style  template.CSS
	Script template.JS

	Attention []status.Pod // those that are held, or whose annotations are not understood
}

func (p page) write(w *bytes.Buffer, s status.Snapshot, filter status.Filter) error {
	return p.template.Execute(w, view{
		Snapshot: s, Filter: filter, Rows: s.Rows(), States: status.States(),
		Style: template.CSS(pageCSS), Script: template.JS(pageJS), Attention: attention(s.Pods),
	})
}

func attention(pods []status.Pod) []status.Pod {
	return slices.DeleteFunc(slices.Clone(pods), func(p status.Pod) bool { return p.Held == nil && p.Problem == "" })
}

// policy is the page's Content-Security-Policy: nothing but its own style and script, and the latter may ask this server alone.
func (p page) policy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		hash(pageCSS), hash(pageJS))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
