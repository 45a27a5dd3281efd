package node

import (
	"context"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
	"github.com/mountwarden/mountwarden/probes/worker"
)

// probeHostMounts explains the observations by the host's mounts, and probes those mounts that can
// change what an observation means.
func (p *podProbe) probeHostMounts(ctx context.Context) {
	var mounts []*mountinfo.Mount // of the host, each once
	var tasks []worker.Task
	p.forEachTarget(func(t *probeTarget) {
		if m := &t.hostMatch.Mount; p.needsHostProbe(t) && indexOfMount(mounts, m) < 0 {
			mounts = append(mounts, m)
			tasks = append(tasks, worker.Task{
				Device: m.Device.String(), Target: p.hostProcess, As: chooseCredential(m),
				Request: check.Request{MountID: uint64(m.ID), Path: m.MountPoint},
			})
		}
	})
	results := p.prober.pool.Look(ctx, tasks, p.timeout)
	p.forEachTarget(func(t *probeTarget) {
		var host probes.Observation
		i := indexOfMount(mounts, &t.hostMatch.Mount)
		if i >= 0 {
			host = p.judgeHostResult(mounts[i], results[i], t.mount.ReadOnly)
		}
		p.applyHostResult(t, host)
	})
}

// needsHostProbe reports whether the host's mount is to be probed.
func (p *podProbe) needsHostProbe(t *probeTarget) bool {
	m := &t.hostMatch.Mount
	switch {
	case p.hostProcess == nil || m.ID == 0 || t.container.self || t.isBelowOnly() || view.WhyNeverProbed(m.FSType) != "":
		return false
	case t.container.hasNoProcess():
		return t.volume == nil
	default:
		return view.NeedsHostProbe(&t.observation, &t.hostMatch)
	}
}

func (p *podProbe) applyHostResult(t *probeTarget, host probes.Observation) {
	switch {
	case t.container.self || t.isBelowOnly():
	case !t.container.hasNoProcess():
		view.Combine(&t.observation, &t.hostMatch, host)
	case t.volume == nil:
		view.UseHostObservation(&t.observation, host)
		t.observation.Tentative = t.observation.Tentative || t.observation.Health == probes.Broken && t.hostMatch.Inferred
	}
}

func (p *podProbe) judgeHostResult(m *mountinfo.Mount, r worker.Result, readOnly bool) probes.Observation {
	o := probes.Observation{Started: p.began, Finished: r.At, FSType: m.FSType, Source: m.Source, Device: m.Device.String()}
	if r.Answer.Mismatch {
		return o
	}
	judgeResult(&o, m, r, p.timeout, p.prober.collectFacts(m, readOnly))
	return o
}

func indexOfMount(mounts []*mountinfo.Mount, m *mountinfo.Mount) int {
	for i := range mounts {
		if mounts[i].ID == m.ID {
			return i
		}
	}
	return -1
}
