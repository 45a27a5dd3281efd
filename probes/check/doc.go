// Package check is the body of the worker process: it touches paths, one after the other, and
// answers one errno each.
//
// It leans on four facts. A system call on a dead file system may never return, so the caller sits
// in another process and reads in a ProgressPage that both map which operation was begun last, and
// when. openat2(2) with RESOLVE_IN_ROOT keeps a symlink of the container in the container.
// fstatfs(2) and statx(2) with AT_STATX_FORCE_SYNC are each wrong alone (a FUSE answers stat from
// its cache, and statfs with zeros to a user it does not know), so both must be good. And a
// descriptor on a volume blocks its unmount, so each is closed before the next path is touched.
//
// The worker is kept tiny, without fmt, os and reflection, since there may be dozens of it. Do not
// call Serve in a process that does anything else: it drops the privileges of the whole process.
package check
