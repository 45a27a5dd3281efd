package check

import (
	"strings"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// Privilege is a set of privileges that a worker should have dropped.
type Privilege uint8

// What a worker drops when it starts.
const (
	NewPrivileges Privilege = 1 << iota // no_new_privs
	BoundingSet                         // needs CAP_SETPCAP, which an unprivileged agent has not
	AmbientSet
	Capabilities // all but CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH
)

// String names the privileges, separated by commas; "" when there is none.
func (p Privilege) String() string {
	var names []string
	for i, name := range []string{"new privileges", "bounding set", "ambient set", "capabilities"} {
		if p>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// DropPrivileges drops what it can and returns what it could not: a worker with a privilege too
// many still probes mounts, and a node without any probe helps nobody.
func DropPrivileges() (undone Privilege) {
	for _, step := range []struct {
		privilege Privilege
		drop      func() error
	}{
		{NewPrivileges, sys.NoNewPrivs},
		{BoundingSet, sys.DropBounding},
		{AmbientSet, sys.ClearAmbient},
		{Capabilities, sys.DropCapabilities},
	} {
		if step.drop() != nil {
			undone |= step.privilege
		}
	}
	return undone
}
