package web

import (
	"fmt"
	"strconv"

	"github.com/mountwarden/mountwarden/controllers/status"
)

// live writes what the script replaces.
func (w writer) live(s status.Snapshot) {
	if s.Agent.DryRun {
		w.put(`<p class="warning">dryRun: the agent decides and reports, and removes nothing.</p>`, "\n")
	}
	w.section("mounts", "Mounts", func() { w.mounts(s) })
	w.section("held", "Held", func() { w.put(held(s)) })
	w.section("removals", "Removed", func() { w.removals(s) })
	w.section("agent", "Agent", func() { w.put(agent(s)) })
}

func (w writer) mounts(s status.Snapshot) {
	rows := s.Rows()
	switch {
	case len(rows) > 0:
		caption := join("What is watched, the worst first, at ", moment(s.Time, s.Time.UTC().Format("2006-01-02 15:04:05 UTC")))
		w.table(caption, []markup{"Pod", "Mount", "State", "Since", "Last probe", "Next step", "History"}, of(rows, mountRow))
	case s.Summary.Pods > 0:
		w.put("<p>The filter leaves none of them.</p>")
	default:
		w.put("<p>", say(s.HowToOptIn()), "</p>")
	}
}

func mountRow(r status.Row) markup {
	return row(join(say(r.Pod), note(r.Namespace)),
		cell("Mount", place(r)),
		cell("State", join(`<span class="state `, say(r.State), `">`, say(r.State), "</span> ", say(r.ShortCause()), note(r.Finding))),
		cell("Since", unless(r.Since, moment(r.Times.Since, r.Since))),
		cell("Last probe", unless(r.LastProbe, join(moment(r.Times.LastProbe, r.LastProbe+" ago"), note("answer: "+r.Latency)))),
		cell("Next step", join(unless(r.Held, join(`<span class="warning">Held: `, say(r.Held), "</span>, ")), say(r.Next))),
		cell("History", history(r)))
}

func place(r status.Row) markup {
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
	return join(say(r.MountPoint), note(where))
}

// history has ids by which the script finds again what a person has unfolded.
func history(r status.Row) markup {
	if len(r.History) == 0 {
		return ""
	}
	changes := strconv.Itoa(len(r.History)) + " changes"
	if len(r.History) == 1 {
		changes = "1 change"
	}
	return join(`<details id="h-`, say(r.ID), `"><summary id="s-`, say(r.ID), `">`, say(changes), `<span class="hidden"> of `, say(r.MountPoint), " in ", say(r.Pod),
		"</span></summary><ol>", each(r.History, func(t status.RowTransition) markup {
			return item(moment(t.Time, t.Ago+" ago"), ": ", say(t.State), " ", say(t.Cause), " ", say(t.Warning), note(t.Finding))
		}), "</ol></details>")
}

func held(s status.Snapshot) markup {
	items := each(s.Pods, func(p status.Pod) markup {
		name := join("<strong>", say(p.Namespace), "/", say(p.Name), "</strong>: ")
		why := unless(p.Problem, item(name, "never removed until its annotations are mended", note(p.Problem)))
		if p.Held != nil {
			why = join(item(name, say(p.Held.Reason), " for ", say(s.Ago(p.Held.Since)), note(p.Held.Message)), why)
		}
		return why
	})
	if items == "" {
		return `<p class="dim">No pod stays with a failed mount.</p>`
	}
	return join("<ul>", items, "\n</ul>")
}

func (w writer) removals(s status.Snapshot) {
	if len(s.Removals) == 0 {
		w.put(`<p class="dim">None since the agent started.</p>`)
		return
	}
	w.table("Pods of this node that were removed since the agent started, and what came of it, the latest first",
		[]markup{"Pod", "When", "Why", "Successor", "Result"}, of(s.Removals, func(r status.Removal) markup {
			return row(join(say(r.Pod), note(r.Namespace+", "+r.Owner)),
				cell("When", moment(r.Removed, s.Ago(r.Removed)+" ago")),
				cell("Why", join(say(r.Cause), note(r.Backend))),
				cell("Successor", say(r.Successor)),
				cell("Result", join(say(r.Result()), note(r.Stuck))))
		}))
}

func agent(s status.Snapshot) markup {
	look, late := "none yet", markup("")
	if !s.Agent.LastLook.IsZero() {
		look = s.Ago(s.Agent.LastLook) + " ago"
	}
	if s.Agent.OverdueSeconds >= 1 {
		late = join(`<span class="bad">, and one is `, say(fmt.Sprintf("%.0f", s.Agent.OverdueSeconds)), " s late</span>")
	}
	w := s.Workers
	sources := each(s.EventSources, func(e status.EventSource) markup {
		available := markup(fmt.Sprintf("%d watched", e.Watched))
		if !e.Available {
			available = `<span class="warning">not available</span>`
		}
		return item("Event source ", say(e.Name), ": ", available, note(e.Detail))
	})
	return join("<ul>",
		item("Version ", say(s.Agent.Version), " on kernel ", say(s.Agent.Kernel), ", up for ", say(s.Ago(s.Agent.Started))),
		item("Last look: ", say(look), late),
		item(say(fmt.Sprintf("Workers: %d, of which %d idle and %d parked (at most %d); %d forsaken", w.Alive, w.Idle, w.Parked, w.MaxParked, w.Forsaken))),
		sources, "\n</ul>")
}
