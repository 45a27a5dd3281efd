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
	p.printLine(s.Headline())
	if s.Summary.Pods == 0 {
		p.printLine(s.HowToOptIn())
	} else {
		p.printMounts(s)
	}
	p.printHeld(s)
	p.printProblems(s)
	p.printRemovals(s)
	p.printAgent(s)
	_, err := io.WriteString(w, p.text.String())
	return err
}

// printer collects the text, so that writing can fail in one place only.
type printer struct{ text strings.Builder }

func (p *printer) printLine(words ...string) { p.text.WriteString(strings.Join(words, " ") + "\n") }

// printTable writes rows below their headings. It writes a cell without text as a dash, so that
// columns can be counted.
func (p *printer) printTable(heading string, rows [][]string) {
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

func (p *printer) printMounts(s status.Snapshot) {
	shown := s.Rows()
	rows := [][]string{}
	for _, r := range shown {
		rows = append(rows, []string{
			r.Namespace, r.Pod, r.Container, r.Volume, r.MountPoint, r.FSType, r.State, r.Cause, r.Since, r.LastProbe, r.Latency, r.Held, r.Next,
		})
	}
	p.printLine()
	if len(rows) == 0 {
		p.printLine("Nothing that is watched matches.")
		return
	}
	p.printTable("NAMESPACE\tPOD\tCONTAINER\tVOLUME\tMOUNT POINT\tFS TYPE\tSTATE\tCAUSE\tSINCE\tLAST PROBE\tLATENCY\tHELD\tNEXT STEP", rows)
	p.printFindings(shown)
}

// maxFindings is how many findings are printed. People who want more ask for one pod, or for JSON.
const maxFindings = 20

// printFindings prints the findings of the mounts that have one. These are the first rows.
func (p *printer) printFindings(rows []status.Row) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r status.Row) bool { return r.Finding == "" })
	if len(rows) > 0 {
		p.printLine("\nFound:")
	}
	for _, r := range rows[:min(len(rows), maxFindings)] {
		p.printLine(" ", r.Namespace+"/"+r.Pod, r.Container, r.MountPoint+":", r.Finding)
	}
	if more := len(rows) - maxFindings; more > 0 {
		p.printLine(fmt.Sprintf("  and %d more: see -o json, or --pod", more))
	}
}

// printHeld prints the full reasons why pods stay.
func (p *printer) printHeld(s status.Snapshot) {
	pods := slices.DeleteFunc(slices.Clone(s.Pods), func(pod status.Pod) bool { return pod.Held == nil })
	if len(pods) > 0 {
		p.printLine("\nHeld:")
	}
	for _, pod := range pods {
		p.printLine(" ", formatPodName(pod.Namespace, pod.Name)+":", pod.Held.Reason, "for", s.Ago(pod.Held.Since)+":", text.Printable(pod.Held.Message))
	}
}

func (p *printer) printProblems(s status.Snapshot) {
	for _, pod := range s.Pods {
		if pod.Problem != "" {
			p.printLine("\nWatched but never removed until its annotations are mended:", formatPodName(pod.Namespace, pod.Name)+":", text.Printable(pod.Problem))
		}
	}
}

func (p *printer) printRemovals(s status.Snapshot) {
	rows := [][]string{}
	for _, r := range s.Removals {
		rows = append(rows, []string{
			s.Ago(r.Removed), text.Printable(r.Namespace), text.Printable(r.Pod), text.Printable(r.Owner), r.Cause, text.Printable(r.Successor), r.Result(),
		})
	}
	if len(rows) > 0 {
		p.printLine("\nRemoved:")
		p.printTable("AGE\tNAMESPACE\tPOD\tOWNER\tCAUSE\tSUCCESSOR\tRESULT", rows)
	}
	for _, r := range s.Removals {
		if r.Stuck != "" {
			p.printLine("\nDoes not end:", formatPodName(r.Namespace, r.Pod)+":", text.Printable(r.Stuck))
		}
	}
}

func formatPodName(namespace, pod string) string { return text.Printable(namespace + "/" + pod) }

// printAgent prints how well the agent can probe this node.
func (p *printer) printAgent(s status.Snapshot) {
	p.printLine()
	line := fmt.Sprintf("Agent %s, up for %s", text.Printable(s.Agent.Version), s.Ago(s.Agent.Started))
	if s.Agent.DryRun {
		line += ", dryRun: it removes nothing"
	}
	if s.Agent.LastLook.IsZero() {
		p.printLine(line + ". It has not looked yet.")
	} else {
		p.printLine(line + ". Last look " + s.Ago(s.Agent.LastLook) + " ago.")
	}
	w := s.Workers
	p.printLine(fmt.Sprintf("Workers: %d, of which %d idle and %d parked (at most %d); %d forsaken.", w.Alive, w.Idle, w.Parked, w.MaxParked, w.Forsaken))
	var there []string
	for _, e := range s.EventSources {
		if e.Available {
			there = append(there, fmt.Sprintf("%s (%d watched)", e.Name, e.Watched))
		}
	}
	p.printLine("Event sources:", cmp.Or(strings.Join(there, ", "), "none; changes are found period by period")+".")
	for _, e := range s.EventSources {
		if !e.Available {
			p.printLine(" ", e.Name, "is not available:", text.Printable(e.Detail))
		}
	}
}
