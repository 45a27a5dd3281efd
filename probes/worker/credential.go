package worker

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/mountwarden/mountwarden/probes/internal/sys"
)

// Credential is a user and a group, numbered as in the agent's user namespace. A FUSE mounted
// without allow_other answers only a process all of whose user ids and group ids are those that it
// is mounted for (fuse_permissible_uidgid of the kernel); others get "all is zero" or EACCES, dead
// or not.
//
// A worker is such a process from its start. It has the same privileges as any worker, so that it
// reaches the containers of all pods. Workers of processes with the same ids may signal each other
// and no more: to trace one takes what the worker has.
//
// The worker's binary must be executable, and the directories above it searchable, for all users.
// To start such a worker takes CAP_SETUID and CAP_SETGID, to end it CAP_KILL; the kernel also asks
// for CAP_KILL of a dying agent whose workers are to die with it.
type Credential struct{ UID, GID uint32 }

// describeUser returns the credential as it stands after a noun; "" when there is none.
func (c *Credential) describeUser() string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(" as user %d and group %d", c.UID, c.GID)
}

// ownCredential is the agent's.
func ownCredential() Credential {
	return Credential{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
}

// checkSwitchUsers returns nil when tasks with a Credential can be done, else why not. The agent's
// own effective capabilities decide.
func checkSwitchUsers() error {
	has, err := sys.EffectiveCapabilities()
	if err != nil {
		return fmt.Errorf("read the agent's capabilities: %w", err)
	}
	var missing []string
	for _, need := range []struct {
		capability sys.Capabilities
		name       string
	}{{sys.CapSetUID, "SETUID"}, {sys.CapSetGID, "SETGID"}, {sys.CapKill, "KILL"}} {
		if has&need.capability == 0 {
			missing = append(missing, need.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("uid-switched workers need the capabilities SETUID, SETGID and KILL: the agent lacks %s", strings.Join(missing, ", "))
	}
	return nil
}

// newSysProcAttr says how a worker is started. The kernel forgets the parent-death signal when
// credentials change (commit_creds); syscall.SysProcAttr asks for the signal after that. The
// ambient capabilities outlive the exec as another user: those that every worker keeps, and the
// one to drop others with.
func newSysProcAttr(as *Credential) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if as == nil {
		return attr, nil
	}
	if err := checkSwitchUsers(); err != nil {
		return nil, err
	}
	has, err := sys.EffectiveCapabilities()
	if err != nil {
		return nil, fmt.Errorf("read the agent's capabilities: %w", err)
	}
	attr.Credential = &syscall.Credential{Uid: as.UID, Gid: as.GID} // and no supplementary groups
	attr.AmbientCaps = (has & (sys.CapSysPtrace | sys.CapDACReadSearch | sys.CapSetPCap)).Numbers()
	return attr, nil
}
