// Package proc finds the process of a container under /proc and holds on to it safely.
//
// It leans on three facts. A container's 64-hexadecimal id is part of the cgroup path of its
// processes under every runtime and cgroup driver, in v1, v2, hybrid and private namespaces
// (proc_pid_cgroup(5)), and the pause process has another id. A descriptor of /proc/PID opened with
// O_PATH answers ESRCH after the process died, even when the kernel gives the id to another
// process, and pins neither its memory nor its mounts. And it is text only: nothing here touches a
// file system but proc.
//
// Runtimes that hide their processes (gVisor, Kata) have no such process; the answer is
// ErrNotFound.
package proc
