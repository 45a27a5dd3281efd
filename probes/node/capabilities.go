package node

import (
	"fmt"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// Capability is one that probes need (capabilities(7)), and whether this process has it.
type Capability struct {
	Name  string // as Kubernetes writes it, without "CAP_"
	Held  bool
	Loses string // which mounts cannot be judged without it; for people
}

// Capabilities returns, in a fixed order, which of the capabilities that probes need are effective
// in this process. What needs a missing one is Unknown, never Broken.
func Capabilities() ([]Capability, error) {
	held, err := sys.EffectiveCapabilities()
	if err != nil {
		return nil, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	const owned = "a FUSE that another user has mounted without allow_other"
	var all []Capability
	for _, need := range []struct {
		bit         sys.Capabilities
		name, loses string
	}{
		{sys.CapSysPtrace, "SYS_PTRACE", "any mount of a container of another user, or that may do more than the agent"},
		{sys.CapDACReadSearch, "DAC_READ_SEARCH", "a mount below a folder that root may not enter"},
		{sys.CapSetUID, "SETUID", owned},
		{sys.CapSetGID, "SETGID", owned},
		{sys.CapKill, "KILL", owned},
	} {
		all = append(all, Capability{need.name, held&need.bit != 0, need.loses})
	}
	return all, nil
}
