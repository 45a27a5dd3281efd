package agents

import (
	"context"
	"errors"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// node answers for the node as the model has it.
type node struct {
	world *world.World
	name  string
	now   func() time.Time
}

// Probe implements podmount.Prober.
func (n *node) Probe(_ context.Context, pod probes.Pod, _ time.Duration) (all []probes.Observation) {
	started := n.now()
	health, cause, broken := n.world.Look(types.UID(pod.UID))
	if cause == probes.CauseHung {
		started = started.Add(-broken) // the question has been open since
	}
	for _, c := range pod.Containers {
		for _, m := range c.Mounts {
			o := probes.Observation{
				Target: probes.Target{Container: c.Name, Volume: m.Volume, Path: m.Path}, Health: health, Cause: cause,
				Operation: probes.OpStatfs, FSType: "fuse", Source: "backend", Started: started, Finished: n.now(),
			}
			switch health {
			case probes.Broken:
				o.Errno = syscall.ENOTCONN
			case probes.Unknown:
				o.Detail = "out of sight"
			}
			all = append(all, o)
		}
	}
	return all
}

// Forget implements podmount.Prober.
func (n *node) Forget(string) {}

// CheckReadiness implements remediate.Node.
func (n *node) CheckReadiness(_ context.Context, v probes.Volume) probes.MountReadiness {
	if n.world.Fresh(v.Backend.Name, n.name) {
		return probes.MountReadiness{Readiness: probes.Ready, Detail: "it answers"}
	}
	return probes.MountReadiness{Readiness: probes.NotReady, Detail: "nobody listens"}
}

// Consumers implements remediate.Node: no volume is shared.
func (n *node) Consumers(string) probes.Consumers { return probes.Consumers{} }

// Why implements followup.Diagnoser.
func (n *node) Why(context.Context, string) probes.Stuck {
	return probes.Stuck{Text: "nothing is known of it"}
}

// Abort implements followup.Diagnoser.
func (n *node) Abort(context.Context, string, string) error { return errors.New("nothing to abort") }
