package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend"
	"github.com/mountwarden/mountwarden/probes/node"
)

// nodeProber is everything that probes this node and its backends. It satisfies remediate.Node.
type nodeProber struct {
	*node.Prober
	backends     *backend.Checker // nil without checkBackends
	capabilities []node.Capability
}

func newNodeProber(ctx context.Context, cfg config.Config) (nodeProber, error) {
	capabilities, err := node.Capabilities()
	if err != nil {
		return nodeProber{}, err
	}
	prober, err := node.New(node.Options{
		WorkerPath: cfg.WorkerPath, ProcRoot: cfg.ProcRoot, MaxActive: cfg.MaxWorkers, MaxParked: cfg.MaxParkedWorkers, Events: cfg.Events,
	})
	if err != nil {
		return nodeProber{}, fmt.Errorf("start the prober: %w", err)
	}
	if !cfg.CheckBackends {
		return nodeProber{Prober: prober, capabilities: capabilities}, nil
	}
	backends, err := backend.New(backend.Options{Host: prober, ProgramPath: cfg.BackendPath, ProcRoot: cfg.ProcRoot})
	if err != nil {
		return nodeProber{}, errors.Join(err, prober.Close(ctx))
	}
	return nodeProber{prober, backends, capabilities}, nil
}

// CheckReadiness says whether a new mount of the volume would succeed now.
func (h nodeProber) CheckReadiness(ctx context.Context, v probes.Volume) probes.MountReadiness {
	if h.backends == nil {
		return probes.MountReadiness{Detail: "backends are not asked"}
	}
	return h.backends.CheckReadiness(ctx, v)
}

// Close ends all children, as far as they can be ended before ctx ends.
func (h nodeProber) Close(ctx context.Context) error {
	err := h.Prober.Close(ctx)
	if h.backends != nil {
		err = errors.Join(err, h.backends.Close(ctx))
	}
	return err
}
