package csidriver

import (
	"context"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
)

// node turns requests into volumes and leaves the rest to the manager.
type node struct {
	csi.UnimplementedNodeServer
	id      string
	staging bool
	volumes *volume.Manager
}

func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.id}, nil
}

func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	response := &csi.NodeGetCapabilitiesResponse{}
	if n.staging {
		response.Capabilities = []*csi.NodeServiceCapability{{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{
				Type: csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
			}},
		}}
	}
	return response, nil
}

func (n *node) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	v, err := n.staged(r)
	if err == nil {
		err = n.volumes.Mount(ctx, v)
	}
	return answer(&csi.NodeStageVolumeResponse{}, err)
}

func (n *node) NodeUnstageVolume(_ context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	err := n.checkStaging()
	if err == nil {
		err = n.unmount(r.GetVolumeId(), "staging_target_path", r.GetStagingTargetPath())
	}
	return answer(&csi.NodeUnstageVolumeResponse{}, err)
}

func (n *node) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	v, err := n.published(r)
	switch {
	case err != nil:
	case v.Staging != "":
		err = n.volumes.Bind(ctx, v)
	default:
		err = n.volumes.Mount(ctx, v)
	}
	return answer(&csi.NodePublishVolumeResponse{}, err)
}

func (n *node) NodeUnpublishVolume(_ context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	return answer(&csi.NodeUnpublishVolumeResponse{}, n.unmount(r.GetVolumeId(), "target_path", r.GetTargetPath()))
}

// unmount does not ask which volume is on the path: the path alone names the mount,
// and a record may be lost.
func (n *node) unmount(id, field, path string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if err := checkPath(field, path); err != nil {
		return err
	}
	return n.volumes.Unmount(path)
}
