package stuck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// ErrRefused means that a connection was not aborted, since that could hit somebody else, or could
// not be ruled out to.
var ErrRefused = errors.New("abort refused")

// refuseAbort returns an error that is ErrRefused.
func refuseAbort(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

// Abort lets all requests to the FUSE file system of a device, "major:minor", fail from now on. It
// is refused with ErrRefused unless only the pod uses the file system: it must be mounted at one
// of the pod's volumes or within its containers, by no other pod, and nowhere else on the host but
// where the kubelet stages volumes. The mount tables of all processes are read for that just
// before, so that a device number which the kernel has given to another file system meanwhile is
// noticed.
func (e *Examiner) Abort(ctx context.Context, podUID, device string) error {
	d, err := parseAnonDevice(device)
	if err != nil {
		return err
	}
	if err := e.checkOnlyUser(ctx, podUID, d); err != nil {
		return err
	}
	return e.abortConnection(d)
}

// parseAnonDevice accepts an anonymous device, as the kernel calls one without a block device
// (get_anon_bdev). It refuses a FUSE on a block device: the number of its connection is no minor.
func parseAnonDevice(text string) (mountinfo.Device, error) {
	major, minor, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(minor, 10, 32)
	if major != "0" || err != nil || n == 0 || strconv.FormatUint(n, 10) != minor {
		return mountinfo.Device{}, refuseAbort("device %q is not 0:MINOR, as of a FUSE file system that no block device stands behind", text)
	}
	return mountinfo.Device{Minor: uint32(n)}, nil
}

// checkOnlyUser refuses unless all mounts of the device are the pod's own.
func (e *Examiner) checkOnlyUser(ctx context.Context, podUID string, d mountinfo.Device) error {
	spaces, err := e.listNamespaces(ctx, podUID, d)
	if errors.Is(err, ErrRefused) {
		return err
	}
	if err != nil {
		return refuseAbort("who uses %s cannot be told: %w", d, err)
	}
	own := 0
	for _, s := range spaces {
		n, err := s.countOwnMounts(d)
		if err != nil {
			return err
		}
		own += n
	}
	if own == 0 {
		return refuseAbort("%s is mounted nowhere in the pod %s", d, podUID)
	}
	return nil
}

// countOwnMounts returns how many of the mounts of the device are the pod's, and refuses when one
// is not.
func (s namespace) countOwnMounts(d mountinfo.Device) (own int, err error) {
	switch {
	case s.own && s.pid != hostPID:
		return s.mounts, nil
	case s.elsewhere != "":
		return 0, refuseAbort("%s is mounted at %s of process %d as well, from where others may use it", d, s.elsewhere, s.pid)
	default:
		return s.inVolumes, nil
	}
}
