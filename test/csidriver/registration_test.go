package csidriver_test

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/csidriver"
)

// The kubelet's steps: a socket appears, GetInfo, NodeGetInfo at the endpoint named
// there, NotifyRegistrationStatus. The socket goes when the driver stops.
func TestRegistrationHandshake(t *testing.T) {
	registry := t.TempDir()
	d := startDriver(t, func(c *csidriver.Config) { c.RegistryDir = registry })
	var socket string
	eventually(t, "a socket appears", func() bool {
		found, err := filepath.Glob(filepath.Join(registry, "*.sock"))
		must(t, err)
		if len(found) == 1 {
			socket = found[0]
		}
		return socket != ""
	})
	kubelet := registration.NewRegistrationClient(dial(t, "unix://"+socket))
	info, err := kubelet.GetInfo(deadline(t), &registration.InfoRequest{})
	must(t, err)
	if info.GetType() != "CSIPlugin" || info.GetName() != csidriver.Name || len(info.GetSupportedVersions()) == 0 {
		t.Errorf("registration info %v", info)
	}
	_, err = csi.NewNodeClient(dial(t, "unix://"+info.GetEndpoint())).NodeGetInfo(deadline(t), &csi.NodeGetInfoRequest{})
	must(t, err)
	for _, status := range []*registration.RegistrationStatus{
		{PluginRegistered: false, Error: "not now"},
		{PluginRegistered: true},
	} {
		_, err = kubelet.NotifyRegistrationStatus(deadline(t), status)
		must(t, err)
	}
	d.probe(t)
	d.stop()
	if left, err := filepath.Glob(filepath.Join(registry, "*")); err != nil || len(left) > 0 {
		t.Errorf("sockets %v are left (%v)", left, err)
	}
}

func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Several drivers of one node are told apart by their names.
func TestAnotherName(t *testing.T) {
	registry, name := t.TempDir(), "other.test.mountwarden.io"
	d := startDriver(t, func(c *csidriver.Config) { c.Name, c.RegistryDir = name, registry })
	info, err := d.GetPluginInfo(deadline(t), &csi.GetPluginInfoRequest{})
	must(t, err)
	registered, err := registration.NewRegistrationClient(dial(t, "unix://"+filepath.Join(registry, name+"-reg.sock"))).
		GetInfo(deadline(t), &registration.InfoRequest{})
	must(t, err)
	if info.GetName() != name || registered.GetName() != name {
		t.Errorf("it calls itself %q, and %q to the kubelet", info.GetName(), registered.GetName())
	}
}
