package web

import (
	"fmt"
	"strconv"

	"github.com/mountwarden/mountwarden/controllers/status"
)

// writeContent writes the part of the page that the script replaces.
func (w pageWriter) writeContent(s status.Snapshot) {
	if s.Agent.DryRun {
		w.writeMarkup(`<p class="warning">dryRun: the agent decides and reports, and removes nothing.</p>`, "\n")
	}
	w.writeSection("mounts", "Mounts", func() { w.writeMounts(s) })
	w.writeSection("held", "Held", func() { w.writeMarkup(renderHeld(s)) })
	w.writeSection("removals", "Removed", func() { w.writeRemovals(s) })
	w.writeSection("agent", "Agent", func() { w.writeMarkup(renderAgent(s)) })
}

func (w pageWriter) writeMounts(s status.Snapshot) {
	rows := s.Rows()
	switch {
	case len(rows) > 0:
		caption := joinMarkup("What is watched, the worst first, at ", renderTime(s.Time, s.Time.UTC().Format("2006-01-02 15:04:05 UTC")))
		w.writeTable(caption, []markup{"Pod", "Mount", "State", "Since", "Last probe", "Next step", "History"}, renderRows(rows, renderMount))
	case s.Summary.Pods > 0:
		w.writeMarkup("<p>The filter leaves none of them.</p>")
	default:
		w.writeMarkup("<p>", escapeHTML(s.HowToOptIn()), "</p>")
	}
}

func renderMount(r status.Row) markup {
	return renderRow(joinMarkup(escapeHTML(r.Pod), renderNote(r.Namespace)),
		renderCell("Mount", renderMountPoint(r)),
		renderCell("State", joinMarkup(`<span class="state `, escapeHTML(r.State), `">`, escapeHTML(r.State), "</span> ",
			escapeHTML(r.ShortCause()), renderNote(r.Finding))),
		renderCell("Since", showUnlessEmpty(r.Since, renderTime(r.Times.Since, r.Since))),
		renderCell("Last probe", showUnlessEmpty(r.LastProbe,
			joinMarkup(renderTime(r.Times.LastProbe, r.LastProbe+" ago"), renderNote("answer: "+r.Latency)))),
		renderCell("Next step", joinMarkup(showUnlessEmpty(r.Held,
			joinMarkup(`<span class="warning">Held: `, escapeHTML(r.Held), "</span>, ")), escapeHTML(r.Next))),
		renderCell("History", renderHistory(r)))
}

func renderMountPoint(r status.Row) markup {
	if r.MountPoint == "" {
		return "none yet"
	}
	where := fmt.Sprintf("container %s, volume %s", r.Container, r.Volume)
	if r.FSType != "" {
		where += ", " + r.FSType
	}
	if r.Source != "" {
		where += " from " + r.Source
	}
	return joinMarkup(escapeHTML(r.MountPoint), renderNote(where))
}

// renderHistory adds ids, by which the script finds the entries that a person has unfolded.
func renderHistory(r status.Row) markup {
	if len(r.History) == 0 {
		return ""
	}
	changes := strconv.Itoa(len(r.History)) + " changes"
	if len(r.History) == 1 {
		changes = "1 change"
	}
	return joinMarkup(`<details id="h-`, escapeHTML(r.ID), `"><summary id="s-`, escapeHTML(r.ID), `">`, escapeHTML(changes),
		`<span class="hidden"> of `, escapeHTML(r.MountPoint), " in ", escapeHTML(r.Pod), "</span></summary><ol>", renderEach(r.History, func(t status.RowTransition) markup {
			return renderItem(renderTime(t.Time, t.Ago+" ago"), ": ", escapeHTML(t.State), " ", escapeHTML(t.Cause),
				" ", escapeHTML(t.Warning), renderNote(t.Finding))
		}), "</ol></details>")
}

func renderHeld(s status.Snapshot) markup {
	items := renderEach(s.Pods, func(p status.Pod) markup {
		name := joinMarkup("<strong>", escapeHTML(p.Namespace), "/", escapeHTML(p.Name), "</strong>: ")
		why := showUnlessEmpty(p.Problem, renderItem(name, "never removed until its annotations are mended", renderNote(p.Problem)))
		if p.Held != nil {
			why = joinMarkup(renderItem(name, escapeHTML(p.Held.Reason), " for ", escapeHTML(s.Ago(p.Held.Since)), renderNote(p.Held.Message)), why)
		}
		return why
	})
	if items == "" {
		return `<p class="dim">No pod stays with a failed mount.</p>`
	}
	return joinMarkup("<ul>", items, "\n</ul>")
}

func (w pageWriter) writeRemovals(s status.Snapshot) {
	if len(s.Removals) == 0 {
		w.writeMarkup(`<p class="dim">None since the agent started.</p>`)
		return
	}
	w.writeTable("Pods of this node that were removed since the agent started, and what came of it, the latest first",
		[]markup{"Pod", "When", "Why", "Successor", "Result"}, renderRows(s.Removals, func(r status.Removal) markup {
			return renderRow(joinMarkup(escapeHTML(r.Pod), renderNote(r.Namespace+", "+r.Owner)),
				renderCell("When", renderTime(r.Removed, s.Ago(r.Removed)+" ago")),
				renderCell("Why", joinMarkup(escapeHTML(r.Cause), renderNote(r.Backend))),
				renderCell("Successor", escapeHTML(r.Successor)),
				renderCell("Result", joinMarkup(escapeHTML(r.Result()), renderNote(r.Stuck))))
		}))
}

func renderAgent(s status.Snapshot) markup {
	look, late := "none yet", markup("")
	if !s.Agent.LastLook.IsZero() {
		look = s.Ago(s.Agent.LastLook) + " ago"
	}
	if s.Agent.OverdueSeconds >= 1 {
		late = joinMarkup(`<span class="bad">, and one is `, escapeHTML(fmt.Sprintf("%.0f", s.Agent.OverdueSeconds)), " s late</span>")
	}
	w := s.Workers
	sources := renderEach(s.EventSources, func(e status.EventSource) markup {
		available := markup(fmt.Sprintf("%d watched", e.Watched))
		if !e.Available {
			available = `<span class="warning">not available</span>`
		}
		return renderItem("Event source ", escapeHTML(e.Name), ": ", available, renderNote(e.Detail))
	})
	return joinMarkup("<ul>",
		renderItem("Version ", escapeHTML(s.Agent.Version), " on kernel ", escapeHTML(s.Agent.Kernel),
			", up for ", escapeHTML(s.Ago(s.Agent.Started))),
		renderItem("Last look: ", escapeHTML(look), late),
		renderItem(escapeHTML(fmt.Sprintf("Workers: %d, of which %d idle and %d parked (at most %d); %d forsaken",
			w.Alive, w.Idle, w.Parked, w.MaxParked, w.Forsaken))),
		sources, "\n</ul>")
}
