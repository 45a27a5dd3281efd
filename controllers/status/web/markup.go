package web

import (
	"bufio"
	"html"
	"iter"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

// markup is HTML. A constant is taken as it stands; whatever else is shown is made by say, which escapes it: Go converts no variable of
// another type by itself.
//
// It is used instead of html/template, which looks up methods by their names at run time and so keeps the linker from leaving out any
// exported method: the agent would be half as large again (36 and 54 MB).
type markup string

// say makes text of a name that may hold anything. It may stand between tags, and in quotes as the value of an attribute.
func say(s string) markup { return markup(html.EscapeString(text.Printable(s))) }

func join(parts ...markup) markup {
	var all strings.Builder
	for _, p := range parts {
		all.WriteString(string(p))
	}
	return markup(all.String())
}

// each joins what f makes of each element.
func each[T any](all []T, f func(T) markup) markup {
	parts := make([]markup, len(all))
	for i, one := range all {
		parts[i] = f(one)
	}
	return join(parts...)
}

// unless is m, or nothing where the text is empty.
func unless(empty string, m markup) markup {
	if empty == "" {
		return ""
	}
	return m
}

// note is a smaller line below; none where there is nothing to say.
func note(s string) markup { return unless(s, join("<small>", say(s), "</small>")) }

// moment shows a time in words, and exactly to who asks for it.
func moment(t time.Time, words string) markup {
	return join(`<time datetime="`, say(t.UTC().Format(time.RFC3339)), `">`, say(words), "</time>")
}

// writer writes markup piece by piece: the whole of a page would take much of the agent's memory. It keeps the first error.
type writer struct{ *bufio.Writer }

func (w writer) put(parts ...markup) {
	for _, p := range parts {
		_, _ = w.WriteString(string(p)) // Flush returns the error
	}
}

// table has a role for everything, since narrow screens show it as blocks, which are no tables any more to assistive technology.
func (w writer) table(caption markup, columns []markup, rows iter.Seq[markup]) {
	head := each(columns, func(c markup) markup { return join(`<th role="columnheader" scope="col">`, c, "</th>") })
	w.put(`<table role="table"><caption>`, caption, "</caption>\n", `<thead role="rowgroup"><tr role="row">`, head, "</tr></thead>\n", `<tbody role="rowgroup">`)
	for row := range rows {
		w.put(row)
	}
	w.put("\n</tbody></table>")
}

func (w writer) section(id, title markup, content func()) {
	w.put(`<section aria-labelledby="`, id, `"><h2 id="`, id, `">`, title, "</h2>\n")
	content()
	w.put("</section>\n")
}

// of makes the rows of a table as they are needed.
func of[T any](all []T, f func(T) markup) iter.Seq[markup] {
	return func(yield func(markup) bool) {
		for _, one := range all {
			if !yield(f(one)) {
				return
			}
		}
	}
}

func row(head markup, cells ...markup) markup {
	return join("\n"+`<tr role="row"><th role="rowheader" scope="row">`, head, "</th>", join(cells...), "</tr>")
}

func cell(column, content markup) markup {
	if content == "" {
		content = "-"
	}
	return join("\n"+`<td role="cell" data-label="`, column, `">`, content, "</td>")
}

func item(content ...markup) markup { return join("\n<li>", join(content...), "</li>") }
