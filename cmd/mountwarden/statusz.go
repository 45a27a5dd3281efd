package main

import (
	"context"
	"fmt"
	"net"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/followup"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

// addStatus serves the status of the node, unless that is turned off.
func addStatus(ctx context.Context, mgr ctrl.Manager, r *podmount.Reconciler, f *followup.Follower, prober host, cfg config.Config) error {
	address, err := cfg.StatusAddress()
	if err != nil || address == "" {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on statusBindAddress: %w", err)
	}
	timeout := closeTimeout
	return mgr.Add(&manager.Server{Name: "status", Server: web.NewServer(live(r, f, prober, cfg).Snapshot), Listener: listener, ShutdownTimeout: &timeout})
}

// live is where the status is read from.
func live(r *podmount.Reconciler, f *followup.Follower, prober host, cfg config.Config) status.Live {
	return status.Live{
		Node: cfg.NodeName, Version: versionText(), Kernel: kernelRelease(), Selector: cfg.Limits.NamespaceSelector, DryRun: cfg.DryRun,
		Started: time.Now(), Now: time.Now,
		Watched: r.Watched, Removals: f.Removals, LastLook: r.LastScan, Overdue: r.Overdue,
		EventSources: func() []status.EventSource { return eventSources(prober) },
		Workers:      func() status.Workers { return workers(prober) },
	}
}

func eventSources(prober host) []status.EventSource {
	all := []status.EventSource{}
	for _, s := range prober.EventSources() {
		all = append(all, status.EventSource{Name: s.Name, Available: s.Available, Watched: s.Watched, Detail: s.Detail})
	}
	return all
}

func workers(prober host) status.Workers {
	s := prober.Stats()
	return status.Workers{Alive: s.Workers, Idle: s.Idle, InFlight: s.InFlight, Parked: s.Parked, MaxParked: s.MaxParked, Forsaken: s.Forsaken}
}
