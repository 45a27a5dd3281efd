package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
)

// Classify says what the answer errno to op proves. Whatever is not listed proves nothing: a denied
// permission, a lack of descriptors or an interrupted call is no dead mount.
func Classify(op probes.Operation, errno syscall.Errno) (probes.Health, probes.Cause) {
	switch errno {
	case 0:
		if op == probes.OpStatx { // the last operation: all before it were good
			return probes.Healthy, probes.CauseNone
		}
	case syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ESHUTDOWN:
		return probes.Broken, probes.CauseDisconnected
	case syscall.EIO, syscall.ENODEV, syscall.ENXIO, syscall.EHOSTDOWN, syscall.ETIMEDOUT:
		return probes.Broken, probes.CauseIOError
	case syscall.ESTALE:
		if op == probes.OpStatfs || op == probes.OpStatx { // elsewhere NFS says so of a timeout, too
			return probes.Broken, probes.CauseStale
		}
	}
	return probes.Unknown, probes.CauseNone
}

// Finding is what an Answer proves, in the terms of an Observation. The zero value is Unknown.
type Finding struct {
	Health   probes.Health
	Cause    probes.Cause
	Warning  probes.Warning
	ByDesign bool   // Broken, unless it has been so from the beginning
	Detail   string // for people: why, where the errno does not tell
}

// Judge says what the answer proves.
func Judge(a Answer) Finding {
	health, cause := Classify(a.Stage.Operation(), a.Errno)
	switch {
	case a.Stage == StageRoot:
		return Finding{Detail: rootDetail(a.Errno)}
	case health != probes.Healthy:
		return Finding{Health: health, Cause: cause}
	case a.Unlinked:
		return Finding{Health: probes.Broken, Cause: probes.CauseStale, Detail: "the mount's root folder is deleted on the NFS server"}
	case a.Unasked:
		return Finding{Detail: "the FUSE server was not asked for its state: it is mounted without allow_other, or tells nothing"}
	default:
		return Finding{Health: health, Cause: cause}
	}
}

// rootDetail explains why the container's root folder could not be opened, which says nothing of its
// mounts.
func rootDetail(errno syscall.Errno) string {
	switch errno {
	case syscall.ESRCH, syscall.ENOENT, syscall.EINVAL:
		return "the container is gone"
	case syscall.EACCES, syscall.EPERM:
		return "the container's root folder may not be opened: the agent needs CAP_SYS_PTRACE"
	default:
		return "the container's root folder could not be opened"
	}
}
