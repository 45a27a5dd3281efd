package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// What EpollAdd waits for. Errors are always reported.
const (
	PollIn  = unix.EPOLLIN
	PollPri = unix.EPOLLPRI // a file of /proc or /sys has changed since it was read or polled
)

// EpollCreate returns an epoll instance.
func EpollCreate() (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) }

// EpollAdd registers fd: each of the events is reported under the id while it lasts. It does not
// block.
func EpollAdd(epoll, fd int, events uint32, id uint64) error {
	event := unix.EpollEvent{Events: events, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

// EpollDelete stops reporting fd. Closing fd alone does not do that while another process holds a
// copy of it.
func EpollDelete(epoll, fd int) error {
	return unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, fd, nil)
}

// EpollWait puts the ids of what has happened into ids and returns how many there are: none when a
// signal came. It blocks its thread until something happens.
func EpollWait(epoll int, ids []uint64) (int, error) {
	events := make([]unix.EpollEvent, len(ids))
	n, err := unix.EpollWait(epoll, events, -1)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for i, e := range events[:n] {
		ids[i] = uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
	}
	return n, nil
}

// Event returns an eventfd: it is readable when Signal was called.
func Event() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) }

// Signal makes an eventfd readable. It does not block.
func Signal(event int) error {
	return retryEINTR(func() error {
		_, err := unix.Write(event, []byte{0, 0, 0, 0, 0, 0, 0, 1})
		return err
	})
}

// PidfdOpen returns a descriptor that becomes readable when all threads of the process have ended
// (Linux 5.10). It needs no privilege, and pins neither the process's id nor its mounts. pid counts
// in this process's pid namespace.
func PidfdOpen(pid int) (int, error) {
	return unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
}

// MountNamespace opens the mount namespace of the process of a pidfd, as PIDFD_GET_MNT_NAMESPACE
// of ioctl_pidfd(2) does (Linux 6.11). Unlike an open of /proc/PID/ns/mnt it does not wait for a
// process within execve (measured on Linux 6.18.44). It is ESRCH when the first thread of the
// process has ended.
func MountNamespace(pidfd int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(pidfd), unix.PIDFD_GET_MNT_NAMESPACE, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// Ended reports whether the process of the pidfd has ended. It does not block.
func Ended(pidfd int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	err := retryEINTR(func() error {
		_, err := unix.Poll(fds, 0)
		return err
	})
	return fds[0].Revents != 0, err
}

// OpenText opens a file of /proc or /sys for reading, outside of Go's poller. Neither ever blocks.
func OpenText(path string) (int, error) {
	return openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_NONBLOCK)
}

// ReadStart reads a file of /proc or /sys from its start. The answer is ENODEV when what the file
// describes is gone.
func ReadStart(fd int, buf []byte) (n int, err error) {
	err = retryEINTR(func() error {
		n, err = unix.Pread(fd, buf, 0)
		return err
	})
	return n, err
}

// WatchMounts returns a non-blocking fanotify group that becomes readable when a mount is attached
// to or detached from the mount namespace, an open /proc/PID/ns/mnt (Linux 6.15). It needs
// CAP_SYS_ADMIN in the user namespace that owns it. EMFILE means that the user has as many groups
// as /proc/sys/fs/fanotify/max_user_groups allows. The group does not pin the namespace. To close
// it waits for a grace period of the kernel, some 10 ms.
func WatchMounts(namespace int) (int, error) {
	group, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_MNT|unix.FAN_NONBLOCK|unix.FAN_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = retryEINTR(func() error {
		return unix.FanotifyMark(group, unix.FAN_MARK_ADD|unix.FAN_MARK_MNTNS, unix.FAN_MNT_ATTACH|unix.FAN_MNT_DETACH, namespace, "")
	})
	if err != nil {
		Close(group)
		return -1, err
	}
	return group, nil
}

// Drain reads and drops what is queued in a non-blocking descriptor, at most limit times len(buf)
// bytes.
func Drain(fd int, buf []byte, limit int) error {
	for range limit {
		var n int
		err := retryEINTR(func() (err error) {
			n, err = unix.Read(fd, buf)
			return err
		})
		if errors.Is(err, unix.EAGAIN) || err == nil && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
