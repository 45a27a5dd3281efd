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

// maxDriverAnswer is the largest answer of a driver in bytes.
const maxDriverAnswer = 64 << 10

var errClosed = errors.New("the connection was closed")

// callSocket connects to a socket of the host and makes one call. Both together may take
// ask.Timeout.
func callSocket[T any](
	ctx context.Context, r hostRoot, socket string, do func(context.Context, *grpc.ClientConn) (T, error),
) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask.Timeout)
	defer cancel()
	conn, err := r.dialSocket(ctx, socket)
	if err != nil {
		return answer, err
	}
	defer func() { _ = conn.Close() }() // gRPC has closed it, if it has ever used it
	client, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(useOnce(conn)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithDisableHealthCheck(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxDriverAnswer)),
	)
	if err != nil {
		return answer, err
	}
	defer func() { _ = client.Close() }()
	return do(ctx, client)
}

// useOnce is a dialer that returns an existing connection, once. The connection is made outside of
// gRPC, which would hide the errno of a failure.
func useOnce(conn net.Conn) func(context.Context, string) (net.Conn, error) {
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

func callGetInfo(ctx context.Context, c *grpc.ClientConn) (*registration.PluginInfo, error) {
	return registration.NewRegistrationClient(c).GetInfo(ctx, &registration.InfoRequest{})
}

func callProbe(ctx context.Context, c *grpc.ClientConn) (*spec.ProbeResponse, error) {
	return spec.NewIdentityClient(c).Probe(ctx, &spec.ProbeRequest{})
}
