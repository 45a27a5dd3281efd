package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// SharedMemory returns a descriptor of size bytes of zeroed memory that two processes can map. It
// is sealed: its length stays as it is, so that nobody who maps it can be killed by SIGBUS. name is
// what /proc shows.
func SharedMemory(name string, size int) (fd int, err error) {
	fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, err
	}
	err = unix.Ftruncate(fd, int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		Close(fd)
		return -1, err
	}
	return fd, nil
}

// Map maps the first size bytes of shared memory. It does not need fd any more afterwards.
func Map(fd, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// Unmap gives back what Map returned. Nobody may access it afterwards: that would be a fault which
// no program survives.
func Unmap(mem []byte) { _ = unix.Munmap(mem) } // it fails only for what Map did not return
