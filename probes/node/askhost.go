package node

import (
	"context"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// askHost explains what was seen by what the host has, and looks at the host's mount where that can change something.
func (l *look) askHost(ctx context.Context) {
	var mounts []*mountinfo.Mount // of the host, each once
	var tasks []worker.Task
	l.each(func(s *subject) {
		if m := &s.standing.Mount; l.wantsHost(s) && indexOf(mounts, m) < 0 {
			mounts = append(mounts, m)
			tasks = append(tasks, worker.Task{
				Device: m.Device.String(), Target: l.hostPID, As: answers(m), Request: check.Request{MountID: uint64(m.ID), Path: m.MountPoint},
			})
		}
	})
	results := l.prober.pool.Look(ctx, tasks, l.timeout)
	l.each(func(s *subject) {
		var host probes.Observation
		i := indexOf(mounts, &s.standing.Mount)
		if i >= 0 {
			host = l.judgeHost(mounts[i], results[i], s.mount.ReadOnly)
		}
		l.combine(s, host)
	})
}

// wantsHost reports whether the host's mount is to be looked at.
func (l *look) wantsHost(s *subject) bool {
	m := &s.standing.Mount
	switch {
	case l.hostPID == nil || m.ID == 0 || s.c.self || s.silent() || view.WhyNeverProbed(m.FSType) != "":
		return false
	case s.c.hasNoProcess():
		return s.volume == nil
	default:
		return view.NeedsHostProbe(&s.seen, &s.standing)
	}
}

func (l *look) combine(s *subject, host probes.Observation) {
	switch {
	case s.c.self || s.silent():
	case !s.c.hasNoProcess():
		view.Combine(&s.seen, &s.standing, host)
	case s.volume == nil:
		view.UseHostObservation(&s.seen, host)
		s.seen.Tentative = s.seen.Tentative || s.seen.Health == probes.Broken && s.standing.Inferred
	}
}

func (l *look) judgeHost(m *mountinfo.Mount, r worker.Result, readOnly bool) probes.Observation {
	o := probes.Observation{Started: l.began, Finished: r.At, FSType: m.FSType, Source: m.Source, Device: m.Device.String()}
	if r.Answer.Mismatch {
		return o
	}
	judge(&o, m, r, l.timeout, l.prober.traits(m, readOnly))
	return o
}

func indexOf(mounts []*mountinfo.Mount, m *mountinfo.Mount) int {
	for i := range mounts {
		if mounts[i].ID == m.ID {
			return i
		}
	}
	return -1
}
