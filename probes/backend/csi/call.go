package csi

import (
	"context"
	"errors"
	"net"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/mountwarden/mountwarden/probes/backend/ask"
)

// maxMessage bounds what a driver may answer, in bytes.
const maxMessage = 64 << 10

var errClosed = errors.New("the connection was closed")

// call connects to a socket of the host and makes one call, which all together may take ask.Patience.
func call[T any](ctx context.Context, r root, socket string, do func(context.Context, *grpc.ClientConn) (T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask.Patience)
	defer cancel()
	conn, err := r.dial(ctx, socket)
	if err != nil {
		return answer, err
	}
	defer func() { _ = conn.Close() }() // gRPC has closed it, if it has ever used it
	client, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(once(conn)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
	if err != nil {
		return answer, err
	}
	defer func() { _ = client.Close() }()
	return do(ctx, client)
}

// once hands out a connection that stands already: the errors of connecting are told apart by errno, which gRPC would hide.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	conns := make(chan net.Conn, 1)
	conns <- conn
	return func(context.Context, string) (net.Conn, error) {
		select {
		case c := <-conns:
			return c, nil
		default:
			return nil, errClosed
		}
	}
}

func getInfo(ctx context.Context, c *grpc.ClientConn) (*registration.PluginInfo, error) {
	return registration.NewRegistrationClient(c).GetInfo(ctx, &registration.InfoRequest{})
}

func probe(ctx context.Context, c *grpc.ClientConn) (*spec.ProbeResponse, error) {
	return spec.NewIdentityClient(c).Probe(ctx, &spec.ProbeRequest{})
}
