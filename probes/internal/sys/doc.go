// Package sys wraps the system calls of the probes, one small function for each, and is the only
// importer of golang.org/x/sys/unix. Each function says whether it may block on a file system.
//
// It leans on openat2(2) (Linux 5.6) and on statx(2) returning the mount id and the mount-root
// attribute (5.8); older kernels answer ENOSYS, or zeros that the callers take for unknown.
// Do not add policy here: what an errno means is decided in package check.
package sys
