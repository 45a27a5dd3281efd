// Package events announces that a look at a pod is due before its turn has come: its mount table
// has changed, a process that serves one of its FUSE mounts has ended, or the kernel has counted an
// error of one of its ext4 file systems. An Event is a hint, never a verdict, and may come without
// a reason; one may also be missed. Polling must go on.
//
// The facts it leans on, each tried when a Watcher is made and told by Sources:
//
//   - A fanotify group with a mark on a mount namespace becomes readable when a mount is attached
//     or detached (Linux 6.15, fanotify_mark(2)). It needs CAP_SYS_ADMIN, does not pin the
//     namespace, and is silent about remounts: they are left to polling, since a mount's own "ro"
//     is never a fault. An event does not name the namespace, hence a group for each; who has used
//     up fs.fanotify.max_user_groups (128) is watched in the next way.
//   - /proc/PID/mountinfo polls as POLLPRI|POLLERR after any change of the namespace, remounts
//     included (proc_pid_mountinfo(5)). That needs no capability, and is what an agent without
//     CAP_SYS_ADMIN uses. But the open file pins the namespace with all its mounts. Therefore it
//     goes with a pidfd of the process and is let go when that process ends. When others live on in
//     the same namespace, the next look finds one of them and calls Watch again.
//   - Who closes the last reference of a namespace takes down its file systems inside close(2), and
//     may wait there for a dead disk or server, unkillable. Hence a short-lived process of its own
//     (Options.Closer) gets a copy of such a descriptor and ends after it was closed here, which
//     cannot block then.
//   - A FUSE connection ends with the last descriptor of /dev/fuse, at the latest when its
//     processes end. The link of such a descriptor reads "/dev/fuse". fdinfo tells its connection
//     as "fuse_connection: N", N being the device number of the mount (Linux 6.16); older kernels
//     do not, and the end of any holder is announced for every pod with a FUSE. fdinfo can keep its
//     reader waiting, unkillable, and cost it as much memory as a process likes, so it is read of
//     privileged processes only, which most drivers are (see proc.Process.IsPrivileged): the end of
//     any other holder is announced for every pod with a FUSE, too. A daemon below a chroot, whose
//     link reads "/host/dev/fuse" for example, is not found. Other users' processes need
//     CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; those that cannot be read are passed over. A
//     connection that no process is known to hold is announced once: its daemon has ended before it
//     was looked for, or is not privileged. The number of a connection that has ended is given to
//     the next one, so that daemons are looked for whenever a number is new to a pod.
//   - /sys/fs/ext4/DEV/errors_count polls as POLLPRI|POLLERR when it grows (Linux 5.14; before that
//     it is left to polling). It needs no capability and pins nothing: the file system can be
//     unmounted meanwhile, reads answer ENODEV then, and no event tells of that.
//
// Reads of /proc and /sys are all it does; it never touches a mount, or anything below a
// container's root. One thread waits in the kernel, whatever is watched.
//
// Tenants can cause events at will. Of one pod at most a few a second are announced, the last one
// after the last change, and what the kernel reports is fetched at a fixed pace.
package events
