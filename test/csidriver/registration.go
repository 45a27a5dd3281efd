package csidriver

import (
	"context"
	"log/slog"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// registrar answers the kubelet's plugin watcher.
type registrar struct {
	registration.UnimplementedRegistrationServer
	name     string
	endpoint string
	log      *slog.Logger
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              r.name,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus only logs: the kubelet tries again by itself, and to end
// the driver here would break the volumes it serves.
func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if s.GetPluginRegistered() {
		r.log.Info("the kubelet registered the driver", "driver", r.name, "endpoint", r.endpoint)
	} else {
		r.log.Error("the kubelet refused to register the driver", "driver", r.name, "error", s.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
