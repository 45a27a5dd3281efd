package table

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/status"
)

// Write writes the snapshot. The error is that of w.
func Write(w io.Writer, s status.Snapshot) error {
	p := &printer{}
	p.line(s.Headline())
	if s.Summary.Pods == 0 {
		p.line(s.HowToOptIn())
	} else {
		p.mounts(s)
	}
	p.held(s)
	p.problems(s)
	p.removals(s)
	p.agent(s)
	_, err := io.WriteString(w, p.text.String())
	return err
}

// printer collects the text, so that there is one place where writing may fail.
type printer struct{ text strings.Builder }

func (p *printer) line(words ...string) { p.text.WriteString(strings.Join(words, " ") + "\n") }

// table writes rows below their headings. A cell with no text is a dash, so that words can be counted.
func (p *printer) table(heading string, rows [][]string) {
	t := tabwriter.NewWriter(&p.text, 0, 8, 3, ' ', 0)
	fmt.Fprintln(t, heading) //nolint:errcheck // a strings.Builder does not fail
	for _, row := range rows {
		for i := range row {
			row[i] = cmp.Or(row[i], "-")
		}
		fmt.Fprintln(t, strings.Join(row, "\t")) //nolint:errcheck // the same
	}
	t.Flush() //nolint:errcheck // the same
}

func (p *printer) mounts(s status.Snapshot) {
	shown := s.Rows()
	rows := [][]string{}
	for _, r := range shown {
		rows = append(rows, []string{
			r.Namespace, r.Pod, r.Container, r.Volume, r.MountPoint, r.FSType, r.State, r.Cause, r.Since, r.LastProbe, r.Latency, r.Held, r.Next,
		})
	}
	p.line()
	if len(rows) == 0 {
		p.line("Nothing that is watched matches.")
		return
	}
	p.table("NAMESPACE\tPOD\tCONTAINER\tVOLUME\tMOUNT POINT\tFS TYPE\tSTATE\tCAUSE\tSINCE\tLAST PROBE\tLATENCY\tHELD\tNEXT STEP", rows)
	p.findings(shown)
}

// maxFindings is how many findings are spelled out: whoever wants more asks for one pod, or for JSON.
const maxFindings = 20

// findings says what was found at the mounts about which there is something to say. They are the first rows.
func (p *printer) findings(rows []status.Row) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r status.Row) bool { return r.Finding == "" })
	if len(rows) > 0 {
		p.line("\nFound:")
	}
	for _, r := range rows[:min(len(rows), maxFindings)] {
		p.line(" ", r.Namespace+"/"+r.Pod, r.Container, r.MountPoint+":", r.Finding)
	}
	if more := len(rows) - maxFindings; more > 0 {
		p.line(fmt.Sprintf("  and %d more: see -o json, or --pod", more))
	}
}

// held says in full why pods stay.
func (p *printer) held(s status.Snapshot) {
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(pod status.Pod) bool { return pod.Held == nil })
	if len(pods) > 0 {
		p.line("\nHeld:")
	}
	for _, pod := range pods {
		p.line(" ", name(pod.Namespace, pod.Name)+":", pod.Held.Reason, "for", s.Ago(pod.Held.Since)+":", text.Printable(pod.Held.Message))
	}
}

func (p *printer) problems(s status.Snapshot) {
	for _, pod := range s.Pods {
		if pod.Problem != "" {
			p.line("\nWatched but never removed until its annotations are mended:", name(pod.Namespace, pod.Name)+":", text.Printable(pod.Problem))
		}
	}
}

func (p *printer) removals(s status.Snapshot) {
	rows := [][]string{}
	for _, r := range s.Removals {
		rows = append(rows, []string{
			s.Ago(r.Removed), text.Printable(r.Namespace), text.Printable(r.Pod), text.Printable(r.Owner), r.Cause, text.Printable(r.Successor), r.Result(),
		})
	}
	if len(rows) > 0 {
		p.line("\nRemoved:")
		p.table("AGE\tNAMESPACE\tPOD\tOWNER\tCAUSE\tSUCCESSOR\tRESULT", rows)
	}
	for _, r := range s.Removals {
		if r.Stuck != "" {
			p.line("\nDoes not end:", name(r.Namespace, r.Pod)+":", text.Printable(r.Stuck))
		}
	}
}

func name(namespace, pod string) string { return text.Printable(namespace + "/" + pod) }

// agent says how well the node is looked at.
func (p *printer) agent(s status.Snapshot) {
	p.line()
	line := fmt.Sprintf("Agent %s, up for %s", text.Printable(s.Agent.Version), s.Ago(s.Agent.Started))
	if s.Agent.DryRun {
		line += ", dryRun: it removes nothing"
	}
	if s.Agent.LastLook.IsZero() {
		p.line(line + ". It has not looked yet.")
	} else {
		p.line(line + ". Last look " + s.Ago(s.Agent.LastLook) + " ago.")
	}
	w := s.Workers
	p.line(fmt.Sprintf("Workers: %d, of which %d idle and %d parked (at most %d); %d forsaken.", w.Alive, w.Idle, w.Parked, w.MaxParked, w.Forsaken))
	var there []string
	for _, e := range s.EventSources {
		if e.Available {
			there = append(there, fmt.Sprintf("%s (%d watched)", e.Name, e.Watched))
		}
	}
	p.line("Event sources:", cmp.Or(strings.Join(there, ", "), "none; changes are found period by period")+".")
	for _, e := range s.EventSources {
		if !e.Available {
			p.line(" ", e.Name, "is not available:", text.Printable(e.Detail))
		}
	}
}
