package sys

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// OpenToWriteAs opens a file for writing as the user uid would, which takes CAP_SETUID when that is another, and neither the rights of
// root nor CAP_DAC_OVERRIDE. EPERM tells that the user cannot be changed.
func OpenToWriteAs(uid int, path string) (fd int, err error) {
	runtime.LockOSThread() // the user belongs to the thread (setfsuid(2)); one that cannot be changed back is never used again
	before, _ := unix.SetfsuidRetUid(uid)
	if fsuid() != uid {
		runtime.UnlockOSThread()
		return -1, unix.EPERM
	}
	fd, err = openat(unix.AT_FDCWD, path, unix.O_WRONLY)
	if _, _ = unix.SetfsuidRetUid(before); fsuid() == before {
		runtime.UnlockOSThread()
	}
	return fd, err
}

// fsuid is as whom this thread meets file systems: the kernel tells it when it is to be changed to nobody (setfsuid(2)).
func fsuid() int {
	uid, _ := unix.SetfsuidRetUid(-1)
	return uid
}
