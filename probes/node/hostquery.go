package node

import (
	"context"
	"errors"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

var errNoHost = errors.New("the host's first process cannot be looked through, or its mount table not be read")

// ProbeHost probes the host's mount that covers a path, within about timeout. Like ProbeSelf it
// follows symlinks, and a mount that is read-only by design is Healthy. A path that does not exist
// is Unknown.
func (p *Prober) ProbeHost(ctx context.Context, path string, timeout time.Duration) probes.Observation {
	c := &container{mounts: []probes.Mount{{Path: path}}, self: true, hostTables: p.hostTables, state: newContainerState()}
	c.readTable()
	probe := newPodProbe(p, "", timeout)
	probe.addContainer(c)
	return probe.run(ctx)[0]
}

// Consumers says who uses a super block, "major:minor", by the host's table.
func (p *Prober) Consumers(device string) probes.Consumers {
	host, _ := p.hostTables.currentTable()
	if host == nil {
		return probes.Consumers{Unknown: true}
	}
	return host.FindConsumers(device)
}

// LocateVolume returns what the host's table says about where a volume comes from.
func (p *Prober) LocateVolume(v probes.Volume) view.VolumeOrigin {
	host, _ := p.hostTables.currentTable()
	return host.LocateVolume(v)
}
