package node

import (
	"github.com/mountwarden/mountwarden/probes/events"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Events tells which pods are due for a look before their turn, of those that were looked at in the last five minutes. Without
// Options.Events it is nil, on which one waits for ever.
func (p *Prober) Events() <-chan events.Event {
	if p.events == nil {
		return nil
	}
	return p.events.Events()
}

// Forget lets go of what is watched for a pod that is looked at no more. Without it that is kept for five minutes.
func (p *Prober) Forget(uid string) {
	if p.events != nil {
		p.events.Forget(uid)
	}
}

// EventSources tells which changes the kernel of this node announces; none without Options.Events.
func (p *Prober) EventSources() []events.Source {
	if p.events == nil {
		return nil
	}
	return p.events.Sources()
}

// watch has the pod's mount tables and file systems watched from now on.
func (l *look) watch() {
	if l.prober.events == nil {
		return
	}
	subjects := make([]events.Target, 0, len(l.containers))
	devices := l.devices()
	for _, c := range l.containers {
		if c.process != nil {
			subjects = append(subjects, events.Target{Process: c.process, FileSystems: devices[c]})
		}
	}
	l.prober.events.Watch(l.uid, subjects)
}

// devices returns the file systems that were looked at in each container.
func (l *look) devices() map[*container][]events.FileSystem {
	devices := map[*container][]events.FileSystem{}
	seen := map[mountinfo.Device]bool{}
	l.each(func(s *subject) {
		if !s.found || s.silent() || seen[s.at.Device] {
			return
		}
		seen[s.at.Device] = true
		devices[s.c] = append(devices[s.c], events.FileSystem{Device: s.at.Device, FSType: s.at.FSType})
	})
	return devices
}
