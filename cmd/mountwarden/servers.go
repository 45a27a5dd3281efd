package main

import (
	"context"
	"crypto/tls"
	"net/http"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/httpserver"
)

// endpoint is what the agent serves at one address.
type endpoint struct {
	name             string // in the log
	setting, address string
	handler          http.Handler
	tls              *tls.Config // nil for plain HTTP
}

// addServer has the manager serve an endpoint, unless its setting turns it off. It does not use the
// manager's own servers: these take any number of connections, with headers of 1 MiB.
func addServer(ctx context.Context, mgr ctrl.Manager, e endpoint) error {
	if e.address == "" || e.address == config.AddressOff {
		return nil
	}
	server, err := newServer(ctx, mgr.GetLogger(), e)
	if err != nil {
		return err
	}
	return mgr.Add(server)
}

// newServer listens at once, so that an address that is not available is found before the agent
// starts.
func newServer(ctx context.Context, log logr.Logger, e endpoint) (*manager.Server, error) {
	listener, err := httpserver.Listen(ctx, e.setting, e.address)
	if err != nil {
		return nil, err
	}
	if e.tls != nil {
		listener = tls.NewListener(listener, e.tls)
	}
	timeout := closeTimeout
	return &manager.Server{
		Name:            e.name,
		Server:          httpserver.New(ctx, e.handler, log.WithValues("name", e.name)),
		Listener:        listener,
		ShutdownTimeout: &timeout,
	}, nil
}

// newHealthEndpoint serves /healthz and /readyz, and below them each check by its name, as the
// manager's own server does.
func newHealthEndpoint(cfg config.Config, live, ready map[string]healthz.Checker) endpoint {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": live, "/readyz": ready} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler)
	}
	return endpoint{name: "health probe", setting: "healthProbeBindAddress", address: cfg.HealthProbeBindAddress, handler: mux}
}
