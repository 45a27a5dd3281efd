// Command mountwarden-probe is the worker process of the mountwarden agent: it makes, one at a time,
// the system calls that may never return. The agent starts it with a socket as descriptor 3; it is of
// no use by hand. See package check.
package main

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes/check"
)

func main() {
	_, keep := syscall.Getenv(check.KeepPrivileges)
	if err := check.Serve(check.Socket, check.Memory, !keep); err != nil {
		print("mountwarden-probe: ", err.Error(), "\n") // without fmt and os, to stay small
		syscall.Exit(1)
	}
}
