package node

import (
	"context"
	"errors"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/view"
)

var errNoHost = errors.New("the host's first process cannot be looked through, or its mount table not be read")

// ProbeHost looks at the host's mount that covers a path, as ProbeSelf does at this process's: within about timeout, past symlinks of
// the host, and with read-only by design as Healthy. A path that is not there is Unknown.
func (p *Prober) ProbeHost(ctx context.Context, path string, timeout time.Duration) probes.Observation {
	c := &container{mounts: []probes.Mount{{Path: path}}, self: true, host: p.host, memory: newMemory()}
	c.read()
	l := newLook(p, "", timeout)
	l.add(c)
	return l.run(ctx)[0]
}

// Consumers says who uses a super block, "major:minor", by the host's table. With no such table nobody is known.
func (p *Prober) Consumers(device string) probes.Consumers {
	host, _ := p.host.view()
	return host.FindConsumers(device)
}

// LocateVolume says what the host's table tells of where a volume comes from.
func (p *Prober) LocateVolume(v probes.Volume) view.VolumeOrigin {
	host, _ := p.host.view()
	return host.LocateVolume(v)
}
