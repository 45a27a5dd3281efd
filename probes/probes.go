package probes

import (
	"syscall"
	"time"
)

// Health is the three-way result of one look. The zero value is Unknown.
type Health uint8

// The results of a look.
const (
	Unknown Health = iota // could not look, or the answer proves nothing
	Healthy
	Broken
)

// String returns "Unknown", "Healthy" or "Broken".
func (h Health) String() string {
	switch h {
	case Healthy:
		return "Healthy"
	case Broken:
		return "Broken"
	default:
		return "Unknown"
	}
}

// Cause says why a mount is Broken. The values are an API: they stand in metric labels, events and
// conditions. The zero value is CauseNone.
type Cause string

// The causes of a Broken observation.
const (
	CauseNone         Cause = ""
	CauseDisconnected Cause = "Disconnected" // ENOTCONN, ECONNABORTED, ESHUTDOWN
	CauseStale        Cause = "Stale"        // ESTALE by fd
	CauseIOError      Cause = "IOError"      // EIO, ENODEV, ENXIO, EHOSTDOWN, ETIMEDOUT
	CauseHung         Cause = "Hung"         // no answer within the timeout
	CauseNotMounted   Cause = "NotMounted"   // the container has no mount where its volume has one
)

// Causes lists every cause, in the order of the documentation.
func Causes() []Cause {
	return []Cause{CauseDisconnected, CauseStale, CauseNotMounted, CauseIOError, CauseHung}
}

// Definitive reports whether one confirmation is enough: the kernel never takes such an answer back
// for the same mount, so waiting longer cannot help.
func (c Cause) Definitive() bool {
	switch c {
	case CauseDisconnected, CauseStale, CauseNotMounted:
		return true
	default:
		return false
	}
}

// Operation names the system call that a look was in when it answered or stopped answering.
type Operation string

// The operations of a look, in the order in which they are done.
const (
	OpNone   Operation = ""
	OpTable  Operation = "mountinfo" // level 0: the container's mount table, text only
	OpOpen   Operation = "openat2"   // O_PATH of the mount's root
	OpStatfs Operation = "fstatfs"   // level 1
	OpStatx  Operation = "statx"     // level 2, AT_STATX_FORCE_SYNC
)

// Pod is what a prober needs to know of one pod. It holds no Kubernetes type.
type Pod struct {
	UID        string
	Namespace  string
	Name       string
	Containers []Container
}

// Container is one running container of a Pod and the mounts in it that are watched.
type Container struct {
	Name   string
	ID     string // the runtime's id, 64 hexadecimal digits, without the "containerd://" prefix
	Mounts []Mount
}

// Mount is one volumeMount of a Container.
type Mount struct {
	Volume string // the name of the pod's volume
	Path   string // absolute, as the container sees it
}

// Target identifies one watched mount of a pod. It is comparable and serves as a map key.
type Target struct {
	Container string
	Volume    string
	Path      string
}

// Observation is what one look at one Target found.
type Observation struct {
	Target    Target
	Health    Health
	Cause     Cause         // set only when Health is Broken
	Errno     syscall.Errno // what the kernel answered; 0 when nothing was answered
	Operation Operation     // where the look ended, or where it is still waiting
	FSType    string        // "" when the mount was not found
	Source    string        // mount source; untrusted text
	Device    string        // "major:minor" of the super block; "" when the mount was not found
	Detail    string        // for people: why it is Unknown or Broken; untrusted text
	Started   time.Time     // when the look began; with CauseHung, since when there is no answer
	Finished  time.Time     // when the observation was made
}
