package sys

import "golang.org/x/sys/unix"

// Capabilities is a set of capabilities, a bit each (capabilities(7)).
type Capabilities uint64

// What the agent uses: for itself, and to start workers as other users and to end them.
const (
	CapKill          Capabilities = 1 << unix.CAP_KILL
	CapSetGID        Capabilities = 1 << unix.CAP_SETGID
	CapSetUID        Capabilities = 1 << unix.CAP_SETUID
	CapSetPCap       Capabilities = 1 << unix.CAP_SETPCAP
	CapSysPtrace     Capabilities = 1 << unix.CAP_SYS_PTRACE
	CapDACReadSearch Capabilities = 1 << unix.CAP_DAC_READ_SEARCH
)

// CapSysAdmin makes a process as good as root on the node. The agent has no use for it itself.
const CapSysAdmin Capabilities = 1 << unix.CAP_SYS_ADMIN

// EffectiveCapabilities returns those that the kernel grants this thread now. It never blocks.
func EffectiveCapabilities() (Capabilities, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	return Capabilities(data[1].Effective)<<32 | Capabilities(data[0].Effective), nil
}

// Numbers lists the set's members as capabilities(7) numbers them.
func (c Capabilities) Numbers() (numbers []uintptr) {
	for n := range uintptr(64) {
		if c>>n&1 == 1 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
