package main

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/followup"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

// addStatusServer serves the status of the node, unless that is turned off.
func addStatusServer(ctx context.Context, mgr ctrl.Manager, r *podmount.Reconciler, f *followup.Follower, prober nodeProber, cfg config.Config) error {
	address, err := cfg.StatusAddress()
	if err != nil || address == "" {
		return err
	}
	handler := web.NewHandler(newStatusSource(r, f, prober, cfg).Snapshot)
	return addServer(ctx, mgr, endpoint{name: "status", setting: "statusBindAddress", address: address, handler: handler})
}

// newStatusSource returns the live state that the status is read from.
func newStatusSource(r *podmount.Reconciler, f *followup.Follower, prober nodeProber, cfg config.Config) status.Live {
	return status.Live{
		Node: cfg.NodeName, Version: versionText(), Kernel: readKernelRelease(), Selector: cfg.Limits.NamespaceSelector, DryRun: cfg.DryRun,
		Started: time.Now(), Now: time.Now,
		Watched: r.Watched, Removals: f.Removals, LastLook: r.LastScan, Overdue: r.Overdue,
		EventSources: func() []status.EventSource { return listEventSources(prober) },
		Workers:      func() status.Workers { return countWorkers(prober) },
	}
}

func listEventSources(prober nodeProber) []status.EventSource {
	all := []status.EventSource{}
	for _, s := range prober.EventSources() {
		all = append(all, status.EventSource{Name: s.Name, Available: s.Available, Watched: s.Watched, Detail: s.Detail})
	}
	return all
}

func countWorkers(prober nodeProber) status.Workers {
	s := prober.Stats()
	return status.Workers{Alive: s.Workers, Idle: s.Idle, InFlight: s.InFlight, Parked: s.Parked, MaxParked: s.MaxParked, Forsaken: s.Forsaken}
}
