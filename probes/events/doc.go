// Package events announces that a pod is due for a probe before its next periodic one: its mount
// table has changed, a process that serves one of its FUSE mounts has ended, or the kernel has
// counted an error of one of its ext4 file systems. An Event is a hint, never a verdict. It may
// come without a reason, and it may be missed, so polling must go on.
//
// These are the facts it relies on. New checks each of them, and Sources reports the result:
//
//   - A fanotify group with a mark on a mount namespace becomes readable when a mount is attached
//     or detached (Linux 6.15, fanotify_mark(2)). It needs CAP_SYS_ADMIN, does not pin the
//     namespace, and does not report remounts: they are left to polling, since a mount's own "ro"
//     is never a fault. An event does not name the namespace, so each namespace needs a group of
//     its own. When fs.fanotify.max_user_groups (128) is used up, the next source is used.
//   - /proc/PID/mountinfo polls as POLLPRI|POLLERR after any change of the namespace, remounts
//     included (proc_pid_mountinfo(5)). It needs no capability, and is what an agent without
//     CAP_SYS_ADMIN uses. But the open file pins the namespace with all its mounts. So it is kept
//     together with a pidfd of the process, and closed when that process ends. If other processes
//     live on in the namespace, the next probe finds one of them and calls Watch again.
//   - The close of the last reference of a namespace unmounts its file systems inside close(2), and
//     may block there on a dead disk or server, unkillable. So a short-lived process of its own
//     (Options.Closer) gets a copy of such a descriptor, and ends after it was closed here, which
//     cannot block then.
//   - A FUSE connection ends when the last descriptor of /dev/fuse is closed, at the latest when
//     its processes end. The link of such a descriptor reads "/dev/fuse". Its fdinfo has the line
//     "fuse_connection: N" with the device number of the mount (Linux 6.16). On older kernels the
//     end of any holder is announced for every pod with a FUSE mount.
//   - Reading fdinfo can block the reader, unkillable, and can cost it as much memory as the other
//     process likes. So it is read only of privileged processes, which most drivers are (see
//     proc.Process.IsPrivileged). The end of any other holder is announced for every pod with a
//     FUSE mount. A daemon in a chroot, whose link reads "/host/dev/fuse" for example, is not
//     found. Processes of other users need CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; those that
//     cannot be read are skipped.
//   - A connection that no process is known to hold is announced once: its daemon ended before the
//     scan, or is not privileged. The number of an ended connection is given to the next one, so a
//     scan is due whenever a number is new to a pod.
//   - /sys/fs/ext4/DEV/errors_count polls as POLLPRI|POLLERR when it grows (Linux 5.14; before that
//     it is left to polling). It needs no capability and pins nothing: the file system can be
//     unmounted meanwhile. Reads answer ENODEV then, and no event says so.
//
// The package only reads /proc and /sys. It never touches a mount, or anything below a container's
// root. One thread waits in the kernel, whatever is watched.
//
// Tenants can cause events at will. At most a few a second are announced for each pod, the last one
// after the last change, and what the kernel reports is fetched at a fixed pace.
package events
