package status

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/text"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Live is where a Snapshot is made from. All functions are required.
type Live struct {
	Node     string
	Version  string
	Kernel   string
	Selector string
	DryRun   bool
	Started  time.Time

	Now          func() time.Time
	Watched      func() []controllers.Watched
	Removals     func() []controllers.Removal
	LastLook     func() time.Time
	Overdue      func() time.Duration
	EventSources func() []EventSource
	Workers      func() Workers
}

// Snapshot returns the node as it is now.
func (l Live) Snapshot() Snapshot {
	s := Snapshot{
		Time: l.Now(), Node: l.Node,
		Agent: Agent{
			Version: l.Version, Kernel: l.Kernel, Started: l.Started, DryRun: l.DryRun, Selector: l.Selector,
			LastLook: l.LastLook(), OverdueSeconds: l.Overdue().Seconds(),
		},
		Pods: []Pod{}, Removals: []Removal{}, EventSources: l.EventSources(), Workers: l.Workers(),
	}
	for _, w := range l.Watched() {
		s.Pods = append(s.Pods, buildPod(w, s.Time))
	}
	slices.SortFunc(s.Pods, func(a, b Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, r := range slices.Backward(l.Removals()) {
		s.Removals = append(s.Removals, buildRemoval(r))
	}
	s.Summary = summarizePods(s.Pods)
	return s
}

// buildPod returns a watched pod as the status shows it.
func buildPod(w controllers.Watched, now time.Time) Pod {
	p := Pod{
		Namespace: w.Namespace, Name: w.Pod, UID: string(w.PodUID), Owner: w.Owner, Mode: string(w.Mode), Action: string(w.Action),
		Problem: text.Redact(w.Problem), LastLook: w.Looked, NextLook: w.NextLook, Removed: w.Removed, Mounts: make([]Mount, 0, len(w.Mounts)),
	}
	if w.Held != controllers.HeldNone {
		p.Held = &Held{Reason: string(w.Held), Message: text.Redact(w.Message), Since: w.HeldSince, AskAgain: w.AskAgain}
	}
	for _, m := range w.Mounts {
		p.Mounts = append(p.Mounts, buildMount(w, m, now))
	}
	slices.SortFunc(p.Mounts, func(a, b Mount) int {
		return cmp.Or(strings.Compare(a.Container, b.Container), strings.Compare(a.MountPoint, b.MountPoint), strings.Compare(a.Volume, b.Volume))
	})
	return p
}

// buildMount returns one mount of a watched pod as the status shows it.
func buildMount(w controllers.Watched, m controllers.WatchedMount, now time.Time) Mount {
	o := m.Mount.Observation
	shown := Mount{
		Container: m.Target.Container, Volume: m.Target.Volume, MountPoint: m.Target.Path,
		FSType: o.FSType, Source: text.Redact(o.Source), Backend: text.Redact(formatBackend(m.Backend)),
		State: m.Mount.Shown(), Cause: string(o.Cause), Warning: string(o.Warning), Finding: text.Redact(describeFinding(m.Mount)), Since: m.Since,
		NextStep: planNextStep(w, m.Mount, now), Transitions: make([]Transition, 0, len(m.History)),
	}
	if m.Mount.Phase == verdict.Suspect || m.Mount.Phase == verdict.Failed {
		shown.Since = m.Mount.Since
	}
	if !o.Finished.IsZero() {
		shown.LastProbe = &Probe{Time: o.Finished, Seconds: o.Finished.Sub(o.Started).Seconds()}
	}
	for _, t := range slices.Backward(m.History) {
		shown.Transitions = append(shown.Transitions,
			Transition{Time: t.At, State: t.State, Cause: string(t.Cause), Warning: string(t.Warning), Detail: text.Redact(t.Detail)})
	}
	return shown
}

func formatBackend(b probes.Backend) string {
	if b.Kind == probes.BackendUnknown {
		return ""
	}
	return b.String()
}

// describeFinding returns what the latest probe found, or why it has no result.
func describeFinding(m verdict.Mount) string {
	switch o := m.Observation; {
	case m.Unseen > 0:
		return m.Blind
	case o.Cause != probes.CauseNone:
		return verdict.Finding(o)
	default:
		return o.Detail
	}
}

func buildRemoval(r controllers.Removal) Removal {
	return Removal{
		Namespace: r.Namespace, Pod: r.Pod, UID: string(r.PodUID), Owner: r.Owner, Backend: text.Redact(r.Backend), Cause: string(r.Cause),
		Since: r.Since, Removed: r.At, Deadline: r.Deadline, Gone: r.Gone, Stuck: text.Redact(r.Stuck), Successor: r.Successor,
		Aftermath: string(r.Aftermath), Ended: r.Ended,
	}
}

func summarizePods(pods []Pod) Summary {
	s := Summary{Pods: len(pods)}
	for _, p := range pods {
		if p.Held != nil {
			s.Held++
		}
		for _, m := range p.Mounts {
			s.countMount(m)
		}
	}
	return s
}

func (s *Summary) countMount(m Mount) {
	s.Mounts++
	switch m.State {
	case verdict.Healthy.String():
		s.Healthy++
	case verdict.Suspect.String():
		s.Suspect++
	case verdict.Failed.String():
		s.Failed++
	default:
		s.Unknown++
	}
	if m.Warning != "" {
		s.Warnings++
	}
}
