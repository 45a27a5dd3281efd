package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// maxRetries bounds retryEINTR: the server of a FUSE may answer EINTR indefinitely.
const maxRetries = 10

// retryEINTR repeats a call that a signal interrupted: the Go runtime preempts goroutines by
// signals.
func retryEINTR(call func() error) (err error) {
	for range maxRetries {
		if err = call(); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return err
}

// OpenDir opens the directory at path with O_PATH. It is meant for directories of /proc, which
// never block. The descriptor of /proc/PID answers ESRCH after the process died, even when its id
// is used again.
func OpenDir(path string) (int, error) {
	return openat(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY)
}

// OpenDirAt is OpenDir beneath the directory dir.
func OpenDirAt(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_PATH|unix.O_DIRECTORY)
}

// OpenAt opens the file name beneath dir for reading. It is meant for text files of /proc/PID.
func OpenAt(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK)
}

// ReadLinkAt returns how many bytes of the link name beneath dir it has put into buf, which cuts a
// longer one (readlinkat(2)). It follows nothing, so that a link of /proc/PID/fd is text, whatever
// file it is of.
func ReadLinkAt(dir int, name string, buf []byte) (n int, err error) {
	err = retryEINTR(func() error {
		n, err = unix.Readlinkat(dir, name, buf)
		return err
	})
	return max(n, 0), err
}

func openat(dir int, path string, flags int) (fd int, err error) {
	err = retryEINTR(func() error {
		fd, err = unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// OpenInRoot opens path with O_PATH as a process whose root is the directory root would see it:
// absolute symlinks and ".." stay below root, magic links of /proc are refused. It may block when
// the path leads through a dead file system. The caller closes the descriptor at once: it pins the
// mount.
func OpenInRoot(root int, path string) (fd int, err error) {
	return openat2(root, path, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// maxRaceRetries is how often a path with ".." is tried before EAGAIN is returned.
const maxRaceRetries = 32

// openat2 opens path with O_PATH. While anything is renamed or mounted, anywhere on the machine,
// the kernel cannot be certain whether a ".." has led out of dir, and answers EAGAIN: the caller
// may try again (openat2(2)).
func openat2(dir int, path string, resolve uint64) (fd int, err error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: resolve}
	for range maxRaceRetries {
		err = retryEINTR(func() error {
			fd, err = unix.Openat2(dir, path, &how)
			return err
		})
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	return fd, err
}

// Close closes a descriptor. Closing an O_PATH descriptor never blocks.
func Close(fd int) { _ = unix.Close(fd) } // close(2) releases fd even when it reports an error

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		Close(fd)
	}
}

// Duplicate returns another descriptor of what fd stands for, close-on-exec.
func Duplicate(fd int) (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) }

// Identity says which mount a descriptor stands on.
type Identity struct {
	MountID   uint64 // as in mountinfo(5); 0 when the kernel returns none
	MountRoot bool   // the descriptor is the root of its mount
}

// Identify returns the mount of fd from what the kernel holds in memory. Asking for no field at all
// and for no synchronisation never reaches a server, and FUSE grants it even without allow_other.
func Identify(fd int) (Identity, error) {
	var st unix.Statx_t
	err := retryEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, 0, &st)
	})
	if err != nil {
		return Identity{}, err
	}
	id := Identity{MountRoot: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		id.MountID = st.Mnt_id
	}
	return id, nil
}

// File system magic numbers of statfs(2) that need a rule of their own.
const (
	MagicFUSE = unix.FUSE_SUPER_MAGIC
	MagicNFS  = unix.NFS_SUPER_MAGIC
)

// FSInfo is what is used of a statfs answer.
type FSInfo struct {
	Magic int64
	Empty bool // block size, name length and all counters are zero: the server was not asked
	Full  bool // takes writes, has blocks, and none is left for users other than root
}

// Statfs asks the file system of fd. It may block indefinitely.
func Statfs(fd int) (FSInfo, error) {
	var st unix.Statfs_t
	if err := retryEINTR(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return FSInfo{}, err
	}
	return FSInfo{
		Magic: int64(st.Type), //nolint:unconvert // the width differs between architectures
		Empty: st.Bsize == 0 && st.Namelen == 0 && st.Blocks == 0 && st.Files == 0,
		Full:  st.Blocks > 0 && st.Bavail == 0 && st.Flags&unix.ST_RDONLY == 0, // squashfs is full by design
	}, nil
}

// FileInfo is what is used of a statx answer.
type FileInfo struct {
	Links   uint32
	Regular bool // a plain file: no directory, no socket
}

// StatSync asks the server behind fd for its basic attributes, past every cache. It may block
// indefinitely.
func StatSync(fd int) (FileInfo, error) {
	var st unix.Statx_t
	err := retryEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &st)
	})
	return FileInfo{Links: st.Nlink, Regular: st.Mode&unix.S_IFMT == unix.S_IFREG}, err
}
