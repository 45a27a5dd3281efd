package node

import (
	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Events returns the channel that announces pods that are due for a probe, of those probed in the
// last five minutes. Without Options.Events it is nil, and a receive from it blocks indefinitely.
func (p *Prober) Events() <-chan events.Event {
	if p.events == nil {
		return nil
	}
	return p.events.Events()
}

// Forget stops watching a pod that is not probed any more. Otherwise it is watched for five more
// minutes.
func (p *Prober) Forget(uid string) {
	if p.events != nil {
		p.events.Forget(uid)
	}
}

// EventSources says which changes the kernel of this node announces; none without Options.Events.
func (p *Prober) EventSources() []events.Source {
	if p.events == nil {
		return nil
	}
	return p.events.Sources()
}

// watchPod watches the pod's mount tables and file systems from now on.
func (p *podProbe) watchPod() {
	if p.prober.events == nil {
		return
	}
	targets := make([]events.WatchTarget, 0, len(p.containers))
	fileSystems := p.listFileSystems()
	for _, c := range p.containers {
		if c.process != nil {
			targets = append(targets, events.WatchTarget{Process: c.process, FileSystems: fileSystems[c]})
		}
	}
	p.prober.events.Watch(p.uid, targets)
}

// listFileSystems returns the file systems that were probed in each container.
func (p *podProbe) listFileSystems() map[*container][]events.FileSystem {
	devices := map[*container][]events.FileSystem{}
	seen := map[mountinfo.Device]bool{}
	p.forEachTarget(func(t *probeTarget) {
		if !t.found || t.isBelowOnly() || seen[t.tableMount.Device] {
			return
		}
		seen[t.tableMount.Device] = true
		devices[t.container] = append(devices[t.container], events.FileSystem{Device: t.tableMount.Device, FSType: t.tableMount.FSType})
	})
	return devices
}
