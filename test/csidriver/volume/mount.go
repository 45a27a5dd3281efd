package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mountwarden/mountwarden/test/faultfs"
)

// detachAll takes away all mounts stacked on path; none is fine. Each success is one
// mount less, so it ends.
func detachAll(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // no mount point, or no such path
		}
		if err != nil {
			return fmt.Errorf("unmount %q: %w", path, err)
		}
	}
}

// removeDir removes an empty directory that nothing is mounted on any more.
func removeDir(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove mount point: %w", err)
	}
	return nil
}

// bindMount shows at target what is mounted at source. The flag is set before the
// mount gets its place, since copies that propagate from there, to the node and its
// pods, take the flags of that moment. It needs Linux 5.12 (mount_setattr(2)).
func bindMount(source, target string, readOnly bool) error {
	err := attachCopy(source, target, readOnly)
	if err != nil {
		return fmt.Errorf("bind mount %q on %q: %w", source, target, err)
	}
	return nil
}

func attachCopy(source, target string, readOnly bool) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source,
		unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if readOnly {
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
			return err
		}
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func sameConnection(a, b string) bool {
	na, errA := faultfs.ConnectionAt(a)
	nb, errB := faultfs.ConnectionAt(b)
	return errA == nil && errB == nil && na == nb
}
