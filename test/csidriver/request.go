package csidriver

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/mountwarden/mountwarden/test/csidriver/volume"
)

// errNoStaging is wrapped when a request stages although the driver runs without.
var errNoStaging = errors.New("the driver runs without --stage")

// staged reads a request to stage.
func (n *node) staged(r *csi.NodeStageVolumeRequest) (volume.Volume, error) {
	if err := n.checkStaging(); err != nil {
		return volume.Volume{}, err
	}
	err := errors.Join(
		checkID(r.GetVolumeId()),
		checkPath("staging_target_path", r.GetStagingTargetPath()),
		checkCapability(r.GetVolumeCapability()),
	)
	content, contentErr := parseContent(r.GetVolumeContext())
	return volume.Volume{
		ID:      r.GetVolumeId(),
		Path:    r.GetStagingTargetPath(),
		Content: content,
	}, errors.Join(err, contentErr)
}

// published reads a request to publish: a bind mount of a staged volume, or a mount
// of its own for an inline volume or without staging.
func (n *node) published(r *csi.NodePublishVolumeRequest) (volume.Volume, error) {
	err := errors.Join(
		checkID(r.GetVolumeId()),
		checkPath("target_path", r.GetTargetPath()),
		checkCapability(r.GetVolumeCapability()),
	)
	attrs := r.GetVolumeContext()
	content, contentErr := parseContent(attrs)
	v := volume.Volume{
		ID:       r.GetVolumeId(),
		Path:     r.GetTargetPath(),
		ReadOnly: r.GetReadonly(),
		Content:  content,
		Pod:      podOf(attrs),
	}
	if n.staging && attrs[attrEphemeral] != "true" {
		v.Staging = r.GetStagingTargetPath()
		err = errors.Join(err, checkPath("staging_target_path", v.Staging))
	}
	return v, errors.Join(err, contentErr)
}

func (n *node) checkStaging() error {
	if !n.staging {
		return errNoStaging
	}
	return nil
}

func checkID(id string) error {
	if id == "" {
		return fmt.Errorf("%w: volume_id is empty", errInvalid)
	}
	return nil
}

// checkPath wants the one spelling of a path, by which mountinfo and the records
// know it.
func checkPath(field, path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("%w: %s %q is not a clean absolute path", errInvalid, field, path)
	}
	return nil
}

func checkCapability(c *csi.VolumeCapability) error {
	switch {
	case c == nil:
		return fmt.Errorf("%w: volume_capability is missing", errInvalid)
	case c.GetMount() == nil:
		return fmt.Errorf("%w: volume_capability.access_type is not mount, which is all there is", errInvalid)
	case c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_UNKNOWN:
		return fmt.Errorf("%w: volume_capability.access_mode is missing", errInvalid)
	case c.GetMount().GetFsType() != "":
		return fmt.Errorf("%w: volume_capability.mount.fs_type %q: leave it empty, all volumes are FUSE", errInvalid, c.GetMount().GetFsType())
	}
	return nil
}
