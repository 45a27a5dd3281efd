// Package filelock lets one process at a time do something, across processes of this machine.
//
// It leans on flock(2): the kernel drops the lock when the process that holds it ends, however it
// ends, so there is never a stale lock to remove. It does not work across machines (NFS).
package filelock
