package csidriver

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Name is the driver's name, which CSIDriver objects and volumes give, unless Config has another.
const Name = "faultfs.test.mountwarden.io"

// vendorVersion has no meaning but must not be empty.
const vendorVersion = "1"

type identity struct {
	name string
	csi.UnimplementedIdentityServer
}

func (i identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.name, VendorVersion: vendorVersion}, nil
}

// GetPluginCapabilities names none: there is no controller.
func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// errNotReady is what Probe says of a driver that answers, but that it is not ready.
var errNotReady = errors.New("the driver says that it is not ready")

// Probe asks the driver at endpoint, unix:// and an absolute path, whether it is
// ready, until ctx ends.
func Probe(ctx context.Context, endpoint string) error {
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("%w: endpoint %q: %w", errInvalid, endpoint, err)
	}
	defer func() { _ = conn.Close() }()
	response, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{})
	if err != nil {
		return fmt.Errorf("probe %q: %w", endpoint, err)
	}
	if !response.GetReady().GetValue() {
		return errNotReady
	}
	return nil
}
