package sys

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenBeneath opens path, which is relative, with O_PATH beneath the directory dir: a symlink or
// ".." that leads out of it is EXDEV, a magic link of /proc is ELOOP. It may block indefinitely,
// also on a mount below dir.
func OpenBeneath(dir int, path string) (fd int, err error) {
	return openat2(dir, path, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_MAGICLINKS)
}

// FileType returns the type of the file at fd, such as S_IFREG, from what the kernel holds in
// memory. It never blocks.
func FileType(fd int) (uint32, error) {
	var st unix.Statx_t
	err := retryEINTR(func() error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, &st)
	})
	return uint32(st.Mode) & unix.S_IFMT, err
}

// Reopen opens the regular file or the directory of an O_PATH descriptor for reading. It may block
// indefinitely. So may the close of the descriptor, since FUSE and NFS report it to the server.
func Reopen(path int) (int, error) {
	return openat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(path), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
}

// DropCache asks the kernel to drop the first page of a file from its cache, so that the next read
// reaches the file system. It is only a hint. It may block indefinitely.
func DropCache(fd int) { _ = unix.Fadvise(fd, 0, int64(unix.Getpagesize()), unix.FADV_DONTNEED) }

// ReadByte reads the first byte of a file; there need not be one. It may block indefinitely.
func ReadByte(fd int) error {
	return retryEINTR(func() error {
		_, err := unix.Pread(fd, make([]byte, 1), 0)
		return err
	})
}

// namesBuffer takes the names of some 100 entries, which is as much of a directory as one call
// reads.
const namesBuffer = 4096

// ReadSomeNames reads the first entries of a directory in one call; there need not be any. It may
// block indefinitely.
func ReadSomeNames(fd int) error {
	return retryEINTR(func() error {
		_, err := unix.Getdents(fd, make([]byte, namesBuffer))
		return err
	})
}
