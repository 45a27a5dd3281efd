package mountns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// enteredEnv marks a process that runs in a namespace of its own already.
const enteredEnv = "MOUNTNS_ENTERED"

// Enter moves this program into a private mount namespace, by executing it again
// there with the same process id, arguments and files, so that it returns nil in the
// second life only. It does nothing for others than root, who cannot mount anyway.
// An error means that the namespace was not made and the host's is still in use.
func Enter() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if os.Getenv(enteredEnv) != "" {
		return os.Unsetenv(enteredEnv)
	}
	runtime.LockOSThread() // until exec, which all other threads end with
	defer runtime.UnlockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts inside the mount namespace: %w", err)
	}
	err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), enteredEnv+"=1"))
	return fmt.Errorf("run again in the mount namespace: %w", err)
}
