package check

import (
	"syscall"

	"github.com/mountwarden/mountwarden/probes"
)

// Finding is what an Answer proves, in the terms of an Observation. The zero value is Unknown.
type Finding struct {
	Health   probes.Health
	Cause    probes.Cause
	Warning  probes.Warning
	ByDesign bool   // Broken, unless it has been so from the beginning
	Detail   string // for people: why, where the errno does not tell
}

// Judge says what the answer proves. What is not listed proves nothing: a denied permission, a
// lack of descriptors or an interrupted call is no dead mount.
func Judge(a Answer) Finding {
	switch {
	case a.Stage == StageRoot:
		return Finding{Detail: describeRootError(a.Errno)}
	case a.Errno == syscall.ENOSPC && a.Stage >= StageStatfs:
		return Finding{Health: probes.Healthy, Warning: probes.WarningNoSpace}
	case a.Errno != 0 && a.Stage == StageCanary:
		return judgeCanary(a.Errno)
	case a.Errno != 0:
		return judgeErrno(a.Stage, a.Errno)
	case a.Stage < StageStatx || a.Mismatch: // not all of the questions were asked
		return Finding{}
	case a.Unlinked:
		return Finding{Health: probes.Broken, Cause: probes.CauseStale, Detail: "the mount's root folder is deleted on the NFS server"}
	case a.Unasked:
		return Finding{Detail: "the FUSE server was not asked for its state: it is mounted without allow_other, or tells nothing"}
	case a.WrongType:
		return canaryByDesign("the canary is not of the type that it should be: a regular file or a directory")
	case a.NoSpace:
		return Finding{Health: probes.Healthy, Warning: probes.WarningNoSpace}
	default:
		return Finding{Health: probes.Healthy}
	}
}

// causeOf is about errnos that mean the same at every stage but the first. ECONNREFUSED is the
// kernel's own answer for a FUSE whose daemon has refused its first request (conn_error of
// fuse_get_req), and stays so; but a daemon may also pass it on from a server that is back soon, as
// it may ETIMEDOUT (docs/adr/0018).
func causeOf(errno syscall.Errno) probes.Cause {
	switch errno {
	case syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ESHUTDOWN:
		return probes.CauseDisconnected
	case syscall.EIO, syscall.ENODEV, syscall.ENXIO, syscall.EHOSTDOWN, syscall.ETIMEDOUT, syscall.ECONNREFUSED:
		return probes.CauseIOError
	default:
		return probes.CauseNone
	}
}

// judgeErrno judges an errno at a stage between the first and the last.
func judgeErrno(s Stage, errno syscall.Errno) Finding {
	if c := causeOf(errno); c != probes.CauseNone {
		return brokenBy(c)
	}
	if errno == syscall.ESTALE && (s == StageStatfs || s == StageStatx) { // elsewhere NFS says so of a timeout, too
		return brokenBy(probes.CauseStale)
	}
	return Finding{}
}

// judgeCanary judges an errno of a file that only the pod's owner knows: that it does not exist
// may be a wrong annotation, unless it existed before.
func judgeCanary(errno syscall.Errno) Finding {
	c := causeOf(errno)
	switch {
	case c == probes.CauseDisconnected:
		return brokenBy(c)
	case c == probes.CauseIOError, errno == syscall.ESTALE:
		return brokenBy(probes.CauseCanaryFailed)
	}
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR:
		return canaryByDesign("the canary does not exist")
	case syscall.ELOOP:
		return canaryByDesign("the way to the canary is a loop of symlinks, or leads over a magic link")
	case syscall.EXDEV:
		return Finding{Detail: "the way to the canary leads out of the volume: name a path that stays in it, without absolute symlinks"}
	default:
		return Finding{}
	}
}

// brokenBy is a Finding of that cause.
func brokenBy(c probes.Cause) Finding { return Finding{Health: probes.Broken, Cause: c} }

// canaryByDesign is a Finding that counts only when the canary could be read before.
func canaryByDesign(detail string) Finding {
	return Finding{Health: probes.Broken, Cause: probes.CauseCanaryFailed, ByDesign: true, Detail: detail}
}

// describeRootError explains why the container's root directory could not be opened, which says
// nothing about its mounts.
func describeRootError(errno syscall.Errno) string {
	switch errno {
	case syscall.ESRCH, syscall.ENOENT, syscall.EINVAL:
		return "the container is gone"
	case syscall.EACCES, syscall.EPERM:
		return "the container's root folder may not be opened: the agent needs CAP_SYS_PTRACE"
	default:
		return "the container's root folder could not be opened"
	}
}
