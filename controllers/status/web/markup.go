package web

import (
	"bufio"
	"html"
	"iter"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// markup is HTML. A constant is taken as it is. Everything else is made by escapeHTML: Go converts
// no variable of another type implicitly.
//
// It is used instead of html/template, which looks up methods by their names at run time. The
// linker then keeps every exported method, and the agent would be half as large again (54 instead
// of 36 MB).
type markup string

// escapeHTML makes markup of a text that may hold any character. It may stand between tags, and in
// quotes as the value of an attribute.
func escapeHTML(s string) markup { return markup(html.EscapeString(text.Printable(s))) }

func joinMarkup(parts ...markup) markup {
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(string(p))
	}
	return markup(all.String())
}

// renderEach joins what f makes of each element.
func renderEach[T any](all []T, f func(T) markup) markup {
	parts := make([]markup, len(all))
	for i, one := range all {
		parts[i] = f(one)
	}
	return joinMarkup(parts...)
}

// showUnlessEmpty returns m, or nothing when the text is empty.
func showUnlessEmpty(empty string, m markup) markup {
	if empty == "" {
		return ""
	}
	return m
}

// renderNote makes a smaller line below. It makes none of an empty text.
func renderNote(s string) markup {
	return showUnlessEmpty(s, joinMarkup("<small>", escapeHTML(s), "</small>"))
}

// renderTime shows a time in words, and the exact time to programs.
func renderTime(t time.Time, words string) markup {
	return joinMarkup(`<time datetime="`, escapeHTML(t.UTC().Format(time.RFC3339)), `">`, escapeHTML(words), "</time>")
}

// pageWriter writes markup piece by piece, because a whole page would take much of the agent's
// memory. It keeps the first error.
type pageWriter struct{ *bufio.Writer }

func (w pageWriter) writeMarkup(parts ...markup) {
	for _, p := range parts {
		_, _ = w.WriteString(string(p)) // Flush returns the error
	}
}

// writeTable gives a role to every element. Narrow screens show the table as blocks, which
// assistive technology would not know as a table otherwise.
func (w pageWriter) writeTable(caption markup, columns []markup, rows iter.Seq[markup]) {
	head := renderEach(columns, func(c markup) markup { return joinMarkup(`<th role="columnheader" scope="col">`, c, "</th>") })
	w.writeMarkup(`<table role="table"><caption>`, caption, "</caption>\n", `<thead role="rowgroup"><tr role="row">`,
		head, "</tr></thead>\n", `<tbody role="rowgroup">`)
	for row := range rows {
		w.writeMarkup(row)
	}
	w.writeMarkup("\n</tbody></table>")
}

func (w pageWriter) writeSection(id, title markup, content func()) {
	w.writeMarkup(`<section aria-labelledby="`, id, `"><h2 id="`, id, `">`, title, "</h2>\n")
	content()
	w.writeMarkup("</section>\n")
}

// renderRows makes the rows of a table as they are needed.
func renderRows[T any](all []T, f func(T) markup) iter.Seq[markup] {
	return func(yield func(markup) bool) {
		for _, one := range all {
			if !yield(f(one)) {
				return
			}
		}
	}
}

func renderRow(head markup, cells ...markup) markup {
	return joinMarkup("\n"+`<tr role="row"><th role="rowheader" scope="row">`, head, "</th>", joinMarkup(cells...), "</tr>")
}

func renderCell(column, content markup) markup {
	if content == "" {
		content = "-"
	}
	return joinMarkup("\n"+`<td role="cell" data-label="`, column, `">`, content, "</td>")
}

func renderItem(content ...markup) markup {
	return joinMarkup("\n<li>", joinMarkup(content...), "</li>")
}
