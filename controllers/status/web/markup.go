package web

import (
	"html"
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

// table has a role for everything, since narrow screens show it as blocks, which are no tables any more to assistive technology.
func table(caption markup, columns []markup, rows markup) markup {
	head := each(columns, func(c markup) markup { return join(`<th role="columnheader" scope="col">`, c, "</th>") })
	return join(`<table role="table"><caption>`, caption, "</caption>\n", `<thead role="rowgroup"><tr role="row">`, head, "</tr></thead>\n",
		`<tbody role="rowgroup">`, rows, "\n</tbody></table>")
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

func section(id, title, content markup) markup {
	return join(`<section aria-labelledby="`, id, `"><h2 id="`, id, `">`, title, "</h2>\n", content, "</section>\n")
}

func item(content ...markup) markup { return join("\n<li>", join(content...), "</li>") }
