package probes

import (
	"strconv"
	"syscall"
)

// ErrnoName returns the name of an errno as errno(3) spells it, or "errno N" for one that no look gives rise to.
// It returns "" for 0.
func ErrnoName(e syscall.Errno) string {
	if e == 0 {
		return ""
	}
	names := map[syscall.Errno]string{
		syscall.EACCES: "EACCES", syscall.EAGAIN: "EAGAIN", syscall.EBADF: "EBADF", syscall.ECONNABORTED: "ECONNABORTED",
		syscall.ECONNREFUSED: "ECONNREFUSED", syscall.ECONNRESET: "ECONNRESET", syscall.EHOSTDOWN: "EHOSTDOWN",
		syscall.EHOSTUNREACH: "EHOSTUNREACH", syscall.EINTR: "EINTR", syscall.EINVAL: "EINVAL", syscall.EIO: "EIO",
		syscall.ELOOP: "ELOOP", syscall.EMFILE: "EMFILE", syscall.ENFILE: "ENFILE", syscall.ENODEV: "ENODEV",
		syscall.ENOENT: "ENOENT", syscall.ENOMEM: "ENOMEM", syscall.ENOSPC: "ENOSPC", syscall.ENOSYS: "ENOSYS",
		syscall.ENOTCONN: "ENOTCONN", syscall.ENOTDIR: "ENOTDIR", syscall.ENXIO: "ENXIO", syscall.EPERM: "EPERM",
		syscall.EREMOTEIO: "EREMOTEIO", syscall.EROFS: "EROFS", syscall.ESHUTDOWN: "ESHUTDOWN", syscall.ESRCH: "ESRCH",
		syscall.ESTALE: "ESTALE", syscall.ETIMEDOUT: "ETIMEDOUT", syscall.EUCLEAN: "EUCLEAN", syscall.EXDEV: "EXDEV",
	}
	if name, ok := names[e]; ok {
		return name
	}
	return "errno " + strconv.Itoa(int(e))
}
