package csidriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
)

// Config is all that a driver needs to know.
type Config struct {
	// Name is the driver's name; the constant Name when empty. A node may run several drivers.
	Name string
	// Endpoint is the CSI socket, unix:// and an absolute path.
	Endpoint string
	// NodeID is the node's name.
	NodeID string
	// RegistryDir is the kubelet's plugins_registry folder; empty for no registration.
	RegistryDir string
	// StateDir is where records and control sockets of volumes live.
	StateDir string
	// Stage offers NodeStageVolume: one FUSE server a staged volume.
	Stage bool
	// ServerCommand begins the command line of a FUSE server, see faultfs.StartOptions.
	ServerCommand []string
	// Log gets the driver's lines, and ServerLog what FUSE servers write to stderr.
	Log       *slog.Logger
	ServerLog io.Writer
}

// stopTimeout is how long calls under way may take to end when the driver stops.
const stopTimeout = 10 * time.Second

func (c *Config) validate() error {
	path, isUnix := strings.CutPrefix(c.Endpoint, "unix://")
	switch {
	case !isUnix || !filepath.IsAbs(path):
		return fmt.Errorf("%w: endpoint %q: use unix:// and an absolute path, such as unix:///csi/csi.sock", errInvalid, c.Endpoint)
	case c.NodeID == "":
		return fmt.Errorf("%w: node-id is empty: give the node's name", errInvalid)
	case !filepath.IsAbs(c.StateDir):
		return fmt.Errorf("%w: state-dir %q: give an absolute path", errInvalid, c.StateDir)
	}
	return nil
}

func (c *Config) socket() string { return strings.TrimPrefix(c.Endpoint, "unix://") }

// Run serves until ctx ends, then lets calls end and takes the sockets away. Its FUSE
// servers end with it and leave their mounts dead.
func Run(ctx context.Context, c Config) (err error) {
	c.Name = cmp.Or(c.Name, Name)
	if err := c.validate(); err != nil {
		return err
	}
	volumes := volume.NewManager(volume.Options{Dir: c.StateDir, Command: c.ServerCommand, Log: c.ServerLog})
	if err := reportDead(volumes, c.Log); err != nil {
		return fmt.Errorf("recover volumes: %w", err)
	}
	defer func() { err = errors.Join(err, volumes.Close()) }()

	services := []service{{c.socket(), func(s *grpc.Server) {
		csi.RegisterIdentityServer(s, identity{name: c.Name})
		csi.RegisterNodeServer(s, &node{id: c.NodeID, staging: c.Stage, volumes: volumes})
	}}}
	if c.RegistryDir != "" {
		socket := filepath.Join(c.RegistryDir, c.Name+"-reg.sock")
		services = append(services, service{socket, func(s *grpc.Server) {
			registration.RegisterRegistrationServer(s, &registrar{name: c.Name, endpoint: c.socket(), log: c.Log})
		}})
	}
	return serveAll(ctx, c.Log.With("driver", c.Name), services)
}

func reportDead(volumes *volume.Manager, log *slog.Logger) error {
	dead, err := volumes.Recover()
	for _, v := range dead {
		log.Warn("found a dead mount of an earlier life; its pod must be replaced",
			"volume", v.ID, "path", v.Path, "pod", v.Pod.Namespace+"/"+v.Pod.Name)
	}
	return err
}

// A service is gRPC on one Unix socket.
type service struct {
	socket   string
	register func(*grpc.Server)
}

// serveAll starts the services in order, each listening before the next begins, and
// ends them in the reverse order, so that the kubelet sees the registration go first.
func serveAll(ctx context.Context, log *slog.Logger, services []service) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stops []func()
	defer func() {
		for _, stop := range slices.Backward(stops) {
			stop()
		}
	}()
	for _, s := range services {
		stop, err := s.start(ctx, log, cancel)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
	}
	log.Info("serving")
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// start serves until stop is called; failed is told when serving ends before.
func (s *service) start(ctx context.Context, log *slog.Logger, failed func(error)) (stop func(), err error) {
	listener, err := listen(ctx, s.socket)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(logCalls(log)))
	s.register(server)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); err != nil {
			failed(fmt.Errorf("serve %q: %w", s.socket, err))
		}
	}()
	return func() { endCalls(server); <-served }, nil
}

// endCalls lets calls under way end, for stopTimeout at most.
func endCalls(server *grpc.Server) {
	hard := time.AfterFunc(stopTimeout, server.Stop)
	defer hard.Stop()
	server.GracefulStop()
}

// listen takes over the path of a driver that was killed. Closing removes the socket.
func listen(ctx context.Context, socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("take over socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", socket, err)
	}
	return listener, nil
}

// logCalls tells each failure, and of the rest what changes a volume.
func logCalls(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		began := time.Now()
		response, err := handler(ctx, req)
		args := []any{"method", info.FullMethod, "took", time.Since(began)}
		switch {
		case err != nil:
			log.Error("call failed", append(args, "error", err)...)
		case strings.HasSuffix(info.FullMethod, "Volume"):
			log.Info("call", args...)
		default:
			log.Debug("call", args...)
		}
		return response, err
	}
}
