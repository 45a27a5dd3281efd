package sys

import "golang.org/x/sys/unix"

// MountsChanged reports whether mounts were added, removed or moved in the mount namespace of an
// open /proc/PID/mountinfo since it was opened or last asked about (mounts_poll in
// fs/proc_namespace.c). Of any other file it is false. It does not block.
func MountsChanged(fd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	var n int
	err := retryEINTR(func() (err error) {
		n, err = unix.Poll(fds, 0)
		return err
	})
	return n > 0 && fds[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0, err
}

// OpenQuietAt is OpenAt for a mountinfo that MountsChanged is asked about. Go's poller would watch
// a non-blocking descriptor, and take the event.
func OpenQuietAt(dir int, name string) (int, error) {
	return openat(dir, name, unix.O_RDONLY)
}
