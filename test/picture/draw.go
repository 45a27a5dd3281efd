package main

import (
	"fmt"
	"html"
	"strings"
)

// style has the colours of both settings. The contrast of text is at least 7 to 1 in each.
const style = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
    .title { font-weight: 600; font-size: 15px }
    .first { font-family: ui-monospace, monospace; font-size: 11.5px }
    .label { font-size: 12px }
    rect { stroke-width: 1.5 }
    .page { fill: #ffffff }
    .step { fill: #ddf4ff; stroke: #0969da }
    .outside { fill: #f6f8fa; stroke: #59636e; stroke-dasharray: 5 3 }
    .arrow { stroke: #1f2328; stroke-width: 1.8; fill: none }
    .head { fill: #1f2328 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .page { fill: #0d1117 }
      .step { fill: #0c2d6b; stroke: #4493f8 }
      .outside { fill: #151b23; stroke: #9198a1 }
      .arrow { stroke: #f0f6fc }
      .head { fill: #f0f6fc }
    }
  `

// draw returns the scene as SVG.
func draw(s scene) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t d">`+"\n", s.width, s.height)
	fmt.Fprintf(&b, "  <title id=\"t\">%s</title>\n  <desc id=\"d\">%s</desc>\n  <style>%s</style>\n", html.EscapeString(s.title), html.EscapeString(s.desc), style)
	b.WriteString(`  <defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">` +
		`<path class="head" d="M0 0 10 5 0 10z"/></marker></defs>` + "\n")
	// A page of its own: the reader's setting may be another than that of the page around it.
	fmt.Fprintf(&b, `  <rect class="page" width="%d" height="%d" rx="8"/>`+"\n", s.width, s.height)
	for _, x := range s.boxes {
		x.draw(&b)
	}
	for _, a := range s.arrows {
		a.draw(&b)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const (
	inset    = 14 // from the edge of a box to its text
	baseline = 24 // from the top of a box to its title
	leading  = 21 // from line to line
)

func (x box) draw(b *strings.Builder) {
	fmt.Fprintf(b, `  <rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="8"/>`+"\n", x.class, x.x, x.y, x.w, x.h)
	write(b, "title", x.x+inset, x.y+baseline, x.title)
	for i, line := range x.lines {
		class := "line"
		if i == 0 && x.class == "step" { // names of packages
			class = "first"
		}
		write(b, class, x.x+inset, x.y+baseline+(i+1)*leading, line)
	}
}

func (a arrow) draw(b *strings.Builder) {
	fmt.Fprintf(b, `  <path class="arrow" d="M%d %d %d %d" marker-end="url(#head)"/>`+"\n", a.x1, a.y1, a.x2, a.y2)
	if a.label != "" {
		write(b, "label", a.lx, a.ly, a.label)
	}
}

func write(b *strings.Builder, class string, x, y int, text string) {
	fmt.Fprintf(b, `  <text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, html.EscapeString(text))
}
