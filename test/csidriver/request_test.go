package csidriver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/csidriver"
)

type publishRequest = csi.NodePublishVolumeRequest

func TestBadPublishRequests(t *testing.T) {
	d := startDriver(t, withStaging)
	for name, c := range map[string]struct {
		change func(*publishRequest)
		field  string // that the message must name
	}{
		"no id":              {func(r *publishRequest) { r.VolumeId = "" }, "volume_id"},
		"no target":          {func(r *publishRequest) { r.TargetPath = "" }, "target_path"},
		"relative target":    {func(r *publishRequest) { r.TargetPath = "a/b" }, `"a/b"`},
		"unclean target":     {func(r *publishRequest) { r.TargetPath = "/a/../b" }, `"/a/../b"`},
		"root":               {func(r *publishRequest) { r.TargetPath = "/" }, `"/"`},
		"no capability":      {func(r *publishRequest) { r.VolumeCapability = nil }, "volume_capability"},
		"block":              {func(r *publishRequest) { r.VolumeCapability.AccessType = block() }, "access_type"},
		"no access mode":     {func(r *publishRequest) { r.VolumeCapability.AccessMode = nil }, "access_mode"},
		"file system type":   {func(r *publishRequest) { r.VolumeCapability.GetMount().FsType = "ext4" }, `"ext4"`},
		"unknown attribute":  {func(r *publishRequest) { r.VolumeContext["colour"] = "red" }, `"colour"`},
		"bad boolean":        {func(r *publishRequest) { r.VolumeContext["ownerOnly"] = "perhaps" }, `ownerOnly="perhaps"`},
		"bad duration":       {func(r *publishRequest) { r.VolumeContext["cacheFor"] = "long" }, `cacheFor="long"`},
		"negative duration":  {func(r *publishRequest) { r.VolumeContext["cacheFor"] = "-1s" }, "-1s"},
		"canary with slash":  {func(r *publishRequest) { r.VolumeContext["canary"] = "a/b" }, `"a/b"`},
		"PV without staging": {func(r *publishRequest) { delete(r.VolumeContext, "csi.storage.k8s.io/ephemeral") }, "staging_target_path"},
	} {
		t.Run(name, func(t *testing.T) {
			r := d.publishRequest("pod", "data")
			c.change(r)
			_, err := d.NodePublishVolume(deadline(t), r)
			wantCode(t, err, codes.InvalidArgument)
			if err != nil && !strings.Contains(err.Error(), c.field) {
				t.Errorf("message %q does not name %s", err, c.field)
			}
			wantGone(t, d, d.target("pod", "data"))
		})
	}
}

func block() *csi.VolumeCapability_Block {
	return &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
}

func TestBadRequestsOfOtherCalls(t *testing.T) {
	d := startDriver(t, withStaging)
	ctx := deadline(t)
	for name, call := range map[string]func() error{
		"unpublish without id": func() error {
			_, err := d.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{TargetPath: "/x"})
			return err
		},
		"unpublish without target": func() error {
			_, err := d.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: "id"})
			return err
		},
		"unstage without path": func() error {
			_, err := d.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: "id"})
			return err
		},
		"stage without path": func() error {
			r := d.stageRequest("pv")
			r.StagingTargetPath = ""
			_, err := d.NodeStageVolume(ctx, r)
			return err
		},
		"stage without capability": func() error {
			r := d.stageRequest("pv")
			r.VolumeCapability = nil
			_, err := d.NodeStageVolume(ctx, r)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, call(), codes.InvalidArgument) })
	}
}

// What cannot be mounted leaves nothing behind.
func TestFailedMountLeavesNothing(t *testing.T) {
	d := startDriver(t, func(c *csidriver.Config) { c.ServerCommand = []string{"/bin/false"} })
	r := d.publishRequest("pod", "data")
	_, err := d.NodePublishVolume(deadline(t), r)
	wantCode(t, err, codes.Internal)
	wantGone(t, d, r.GetTargetPath())
}

func TestIdentity(t *testing.T) {
	d, staging := startDriver(t), startDriver(t, withStaging)
	d.probe(t)
	info, err := d.GetPluginInfo(deadline(t), &csi.GetPluginInfoRequest{})
	must(t, err)
	if info.GetName() != "faultfs.test.mountwarden.io" || info.GetVendorVersion() == "" {
		t.Errorf("plugin info %v", info)
	}
	plugin, err := d.GetPluginCapabilities(deadline(t), &csi.GetPluginCapabilitiesRequest{})
	must(t, err)
	if len(plugin.GetCapabilities()) != 0 {
		t.Errorf("capabilities %v, want none", plugin)
	}
	node, err := d.NodeGetInfo(deadline(t), &csi.NodeGetInfoRequest{})
	must(t, err)
	if node.GetNodeId() != "node-1" {
		t.Errorf("node id %q, want node-1", node.GetNodeId())
	}
	for want, d := range map[int]*driver{0: d, 1: staging} {
		c, err := d.NodeGetCapabilities(deadline(t), &csi.NodeGetCapabilitiesRequest{})
		must(t, err)
		if len(c.GetCapabilities()) != want {
			t.Errorf("node capabilities %v, want %d", c, want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for field, c := range map[string]csidriver.Config{
		"endpoint":  {Endpoint: "tcp://localhost:1", NodeID: "n", StateDir: "/x"},
		"node-id":   {Endpoint: "unix:///x/y", StateDir: "/x"},
		"state-dir": {Endpoint: "unix:///x/y", NodeID: "n", StateDir: "x"},
	} {
		if err := csidriver.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
}

func TestStopTakesTheSocketsAway(t *testing.T) {
	d := startDriver(t)
	d.probe(t)
	d.stop()
	if left, err := filepath.Glob(filepath.Join(d.root, "*.sock")); err != nil || len(left) > 0 {
		t.Errorf("sockets %v are left (%v)", left, err)
	}
}

func TestProbe(t *testing.T) {
	d := startDriver(t, func(c *csidriver.Config) { // in a folder that is not there yet
		c.Endpoint = "unix://" + filepath.Join(filepath.Dir(c.StateDir), "new", "csi.sock")
	})
	d.probe(t)
	must(t, csidriver.Probe(deadline(t), d.config.Endpoint))
	d.stop()
	if err := csidriver.Probe(deadline(t), d.config.Endpoint); err == nil {
		t.Error("the probe of a stopped driver works")
	}
}

// A driver that was killed leaves its socket, which the next one takes over.
func TestTakesOverAStaleSocket(t *testing.T) {
	d := startDriver(t, func(c *csidriver.Config) {
		must(t, os.WriteFile(strings.TrimPrefix(c.Endpoint, "unix://"), nil, 0o600))
	})
	d.probe(t)
}
