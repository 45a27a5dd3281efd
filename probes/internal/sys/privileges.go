package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The capabilities that a worker keeps: to follow /proc/PID/root of any container, and to walk
// directories that deny search to others.
const keptCaps = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH

// Privileges and capabilities belong to a thread; a Go program has several, so each call below is
// made on all of them. In a cgo program that is impossible and the answer is ENOTSUP.

// NoNewPrivs makes it impossible to gain privileges by executing a set-uid program.
func NoNewPrivs() error {
	return callAllThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1)
}

// ClearAmbient empties the ambient set, which execve(2) would hand on.
func ClearAmbient() error {
	return callAllThreads(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL)
}

// DropBounding removes every capability but the kept ones from the bounding set. It needs
// CAP_SETPCAP unless there is nothing to remove, and answers EPERM without it.
func DropBounding() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		held, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil || held == 0 || keptCaps>>c&1 == 1 {
			continue // err: a capability that this kernel does not know
		}
		if err := callAllThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c); err != nil {
			return err
		}
	}
	return nil
}

// DropCapabilities keeps, of what is permitted now, only the kept capabilities and makes none of
// them inheritable. It needs no privilege.
func DropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Permitted &= keptCaps
	data[1].Permitted = 0
	for i := range data {
		data[i].Effective, data[i].Inheritable = data[i].Permitted, 0
	}
	return callAllThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])))
}

// callAllThreads makes a system call on each thread of the process.
func callAllThreads(trap, a1, a2 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(trap, a1, a2, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
