package status

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Row is one mount as people read it, in a terminal and in a browser. All its texts are printable.
// A pod that was not probed yet has a Row without a mount.
type Row struct {
	ID string // of this mount, the same in each snapshot: letters and digits

	Namespace, Pod, Container, Volume, MountPoint string

	FSType    string
	Source    string
	State     string
	Cause     string // or the warning
	Finding   string
	Since     string // for how long it has been in this state, such as "5m"
	LastProbe string // how long ago, such as "8s"
	Latency   string // how long the answer took; "none for 40s" while there is none
	Held      string
	Next      string // the next step, and in how long
	History   []RowTransition
	Times     RowTimes
}

// RowTransition is one line of a Row's history.
type RowTransition struct {
	Time                                time.Time
	Ago, State, Cause, Warning, Finding string
}

// RowTimes are the times that a Row's texts are counted from; zero where there is none.
type RowTimes struct{ Since, LastProbe, Next time.Time }

// Rows returns the snapshot's mounts, the worst first, and then by name.
func (s Snapshot) Rows() []Row {
	var rows []Row
	for _, p := range s.Pods {
		if len(p.Mounts) == 0 {
			rows = append(rows, s.newUnprobedRow(p))
		}
		for _, m := range p.Mounts {
			rows = append(rows, s.newRow(p, m))
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.severityRank(), b.severityRank()) })
	return rows
}

// ShortCause returns the cause, "" where the finding begins with it.
func (r Row) ShortCause() string {
	if strings.HasPrefix(r.Finding, r.Cause) {
		return ""
	}
	return r.Cause
}

// severityRank orders states: the lower, the sooner a person should read it.
func (r Row) severityRank() int {
	switch {
	case r.State == verdict.Healthy.String() && r.Cause == "":
		return len(States())
	case r.State == verdict.Healthy.String():
		return len(States()) - 1
	default:
		return slices.Index(States(), r.State)
	}
}

// newUnprobedRow returns the Row of a pod whose mounts were not probed yet.
func (s Snapshot) newUnprobedRow(p Pod) Row {
	step := NextStep{Step: StepLook, Text: "look for the first time", At: p.NextLook}
	if !p.LastLook.IsZero() {
		step.Text = "look again; nothing is mounted there that is to be watched"
	}
	return Row{
		ID:        hashNames(p.UID),
		Namespace: text.Printable(p.Namespace), Pod: text.Printable(p.Name), State: probes.Unknown.String(), Finding: text.Printable(p.Problem),
		Next: s.formatNextStep(step), Times: RowTimes{Next: step.At},
	}
}

func (s Snapshot) newRow(p Pod, m Mount) Row {
	r := Row{
		ID:        hashNames(p.UID, m.Container, m.Volume, m.MountPoint),
		Namespace: text.Printable(p.Namespace), Pod: text.Printable(p.Name),
		Container: text.Printable(m.Container), Volume: text.Printable(m.Volume), MountPoint: text.Printable(m.MountPoint), FSType: text.Printable(m.FSType), Source: text.Printable(m.Source),
		State: m.State, Cause: cmp.Or(m.Cause, m.Warning), Finding: text.Printable(m.Finding), Since: s.Ago(m.Since),
		Next: s.formatNextStep(m.NextStep), Times: RowTimes{Since: m.Since, Next: m.NextStep.At},
	}
	if p.Held != nil && m.State == verdict.Failed.String() {
		r.Held = p.Held.Reason
	}
	if m.LastProbe != nil {
		r.LastProbe, r.Latency, r.Times.LastProbe = s.Ago(m.LastProbe.Time), formatLatency(m), m.LastProbe.Time
	}
	for _, t := range m.Transitions {
		r.History = append(r.History, RowTransition{
			Time: t.Time, Ago: s.Ago(t.Time), State: t.State, Cause: t.Cause, Warning: t.Warning, Finding: text.Printable(t.Detail),
		})
	}
	return r
}

// hashNames returns an ID for names that may hold any character.
func hashNames(names ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(names, "\x00"))) // none of them may hold a NUL
	return hex.EncodeToString(sum[:8])
}

// formatLatency returns how long the latest probe took.
func formatLatency(m Mount) string {
	took := time.Duration(m.LastProbe.Seconds * float64(time.Second))
	if m.Cause == string(probes.CauseHung) {
		return "none for " + duration.HumanDuration(took)
	}
	for _, unit := range []time.Duration{time.Second, time.Millisecond} {
		if took >= unit {
			return took.Round(unit / 10).String()
		}
	}
	return took.Round(time.Microsecond).String()
}

// Ago returns how long before the snapshot a time was, as kubectl writes ages. It returns "" for
// the zero time.
func (s Snapshot) Ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration.HumanDuration(max(s.Time.Sub(t), 0))
}

func (s Snapshot) formatNextStep(step NextStep) string {
	if ahead := step.At.Sub(s.Time); ahead >= time.Second {
		return step.Text + " (in " + duration.HumanDuration(ahead) + ")"
	}
	if never := step.At.IsZero() && (step.Step == StepEnd || step.Step == StepHold); never {
		return step.Text
	}
	return step.Text + " (now)"
}

// Headline says in one sentence what is watched on the node and what is broken.
func (s Snapshot) Headline() string {
	c := s.Summary
	if c.Pods == 0 {
		return "Node " + text.Printable(s.Node) + ": nothing is watched."
	}
	var states []string
	for _, n := range []struct {
		count int
		name  string
	}{
		{c.Failed, "Failed"}, {c.Suspect, "Suspect"}, {c.Unknown, "Unknown"}, {c.Healthy, "Healthy"},
	} {
		if n.count > 0 {
			states = append(states, fmt.Sprintf("%d %s", n.count, n.name))
		}
	}
	line := fmt.Sprintf("Node %s: %s in %s watched", text.Printable(s.Node), formatCount(c.Mounts, "mount"), formatCount(c.Pods, "pod"))
	if len(states) > 0 {
		line += ": " + strings.Join(states, ", ")
	}
	if c.Held > 0 {
		line += fmt.Sprintf("; %s held", formatCount(c.Held, "pod"))
	}
	if c.Warnings > 0 {
		line += "; " + formatCount(c.Warnings, "warning")
	}
	return line + "."
}

func formatCount(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// HowToOptIn says how to have a pod watched, for people who find none.
func (s Snapshot) HowToOptIn() string {
	how := `A pod on this node is watched while it runs and has the annotation mountwarden.io/watch: "true", which belongs in the template of its ` +
		`Deployment, StatefulSet or DaemonSet.`
	if s.Agent.Selector != "" {
		how += " Its namespace must have labels that match " + text.Printable(s.Agent.Selector) + " (limits.namespaceSelector)."
	}
	return how
}

// Result says how an eviction ended, or what it waits for.
func (r Removal) Result() string {
	switch {
	case r.Aftermath != "":
		return fmt.Sprintf("%s after %s", r.Aftermath, duration.HumanDuration(max(r.Ended.Sub(r.Removed), 0)))
	case r.Stuck != "":
		return "it does not end"
	case !r.Gone:
		return "it ends"
	case r.Successor == "":
		return "waits for a successor"
	default:
		return "waits for the successor's mounts to be healthy"
	}
}
