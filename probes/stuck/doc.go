// Package stuck says why a pod that was removed does not end: which of its processes waits for
// what, or which of its mounts is left.
//
// It leans on proc(5): the processes of a pod have its UID in their cgroup paths, a thread in state
// D cannot be killed, and wchan names the function of the kernel that it waits in,
// request_wait_answer for a FUSE server. It reads text only, and only such that never waits: no
// mount is entered, and of /proc/PID neither stat nor cmdline (see proc.Tasks). Which of several
// FUSE mounts it is can be read in fusectl (Documentation/filesystems/fuse/fuse.rst of the kernel):
// the file waiting counts the requests without an answer, and is made of memory.
//
// The one thing it does is Abort, which lets all requests of one FUSE connection fail with
// ENOTCONN, so that who waits can be killed. It refuses unless nobody but the pod has the file
// system: the connection is lost for everybody.
//
// What it could not read is never reported as absent. Do not use it to decide whether a mount has
// failed.
package stuck
