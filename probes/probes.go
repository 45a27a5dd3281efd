package probes

import (
	"strings"
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
	CauseNone            Cause = ""
	CauseDisconnected    Cause = "Disconnected"    // ENOTCONN, ECONNABORTED, ESHUTDOWN
	CauseStale           Cause = "Stale"           // ESTALE by fd
	CauseStaleGeneration Cause = "StaleGeneration" // broken here, while the host has a healthy mount anew
	CauseNotMounted      Cause = "NotMounted"      // the container has no mount where its volume has one
	CauseSourceDeleted   Cause = "SourceDeleted"   // the folder that was mounted is deleted
	CauseIOError         Cause = "IOError"         // EIO, ENODEV, ENXIO, EHOSTDOWN, ETIMEDOUT
	CauseReadOnly        Cause = "ReadOnly"        // the super block does not take writes any more
	CauseHung            Cause = "Hung"            // no answer within the timeout
	CauseCanaryFailed    Cause = "CanaryFailed"    // the canary cannot be read
)

// Causes lists every cause, in the order of the documentation.
func Causes() []Cause {
	return []Cause{
		CauseDisconnected, CauseStale, CauseStaleGeneration, CauseNotMounted, CauseSourceDeleted, CauseIOError, CauseReadOnly, CauseHung,
		CauseCanaryFailed,
	}
}

// Definitive reports whether one confirmation is enough: the kernel never takes such an answer back
// for the same mount, so waiting longer cannot help.
func (c Cause) Definitive() bool {
	switch c {
	case CauseDisconnected, CauseStale, CauseStaleGeneration, CauseNotMounted:
		return true
	default:
		return false
	}
}

// Recoverable reports whether a backend that is away gives the cause, too: the mount may answer again
// when the backend does, and until then a new mount may fail as this one did.
func (c Cause) Recoverable() bool {
	switch c {
	case CauseHung, CauseIOError, CauseCanaryFailed:
		return true
	default:
		return false
	}
}

// Warning says what is wrong around a mount that is Healthy itself, so that a new pod would not help. The values are an
// API: they stand in metric labels. The zero value is WarningNone.
type Warning string

// The warnings of a Healthy observation.
const (
	WarningNone            Warning = ""
	WarningNoSpace         Warning = "NoSpace"         // no block is left for those who are not root
	WarningHostBroken      Warning = "HostBroken"      // the host's mount of the volume is broken or gone: a new pod would get that
	WarningStaleGeneration Warning = "StaleGeneration" // the host has mounted the volume anew; the container still uses the former mount
)

// Warnings lists every warning, in the order of the documentation.
func Warnings() []Warning {
	return []Warning{WarningNoSpace, WarningHostBroken, WarningStaleGeneration}
}

// Trigger says what made a look due. The values are an API: they stand in metric labels.
type Trigger string

// The triggers of a look.
const (
	TriggerPeriod          Trigger = "Period"          // its turn has come
	TriggerMountTable      Trigger = "MountTable"      // a mount came, went or changed in a container
	TriggerFUSEDaemon      Trigger = "FUSEDaemon"      // a process that served a FUSE has ended
	TriggerFileSystemError Trigger = "FileSystemError" // the kernel counted an error of a file system
)

// Triggers lists every trigger, in the order of the documentation.
func Triggers() []Trigger {
	return []Trigger{TriggerPeriod, TriggerMountTable, TriggerFUSEDaemon, TriggerFileSystemError}
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
	OpCanary Operation = "canary"    // level 3: open and read the canary, which the pod has asked for
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
	Others []string // absolute paths of its other volumeMounts: what is there or below belongs to no watched volume
}

// Mount is one volumeMount of a Container.
type Mount struct {
	Volume    string     // the name of the pod's volume
	Path      string     // absolute, as the container sees it
	ReadOnly  bool       // the pod has asked for a mount that does not take writes
	BelowOnly bool       // only what is mounted below Path is looked at: Path itself lies on the node's disk by design
	Host      HostVolume // where the host has the same volume
	Canary    Canary     // what is read at level 3
	Expected  []Expected // mounts that must be below Path
}

// HostVolume says where the host has a volume. The zero value is "not known": it is found out by the device.
type HostVolume struct {
	Path   string // of a hostPath volume: absolute, on the host
	Folder string // of other volumes: below the pod's folder "volumes" of the kubelet, such as "kubernetes.io~csi/data/mount"
	Claim  bool   // the Folder is named by the bound PersistentVolume, whose name the pod does not tell
}

// Canary names a file or a directory that is read, never written, to see more of the data's way than
// the mount's root shows. Paths are relative to the mount. Both may be empty.
type Canary struct {
	File      string // its first byte is read
	Directory string // its first entries are read, never all
}

// Expected is a mount that must be below a volume.
type Expected struct {
	Path   string // relative to the volume's mount
	FSType string // "" allows any
}

// Below reports whether path is dir or lies below it. Both are absolute and clean.
func Below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
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
	Warning   Warning       // set only when Health is Healthy
	Tentative bool          // Broken, but it may mend itself without a new pod: no cause is definitive then
	ByDesign  bool          // Broken, unless it has been so from the beginning: counts only after a better look
	Errno     syscall.Errno // what the kernel answered; 0 when nothing was answered
	Operation Operation     // where the look ended, or where it is still waiting
	FSType    string        // "" when the mount was not found
	Source    string        // mount source; untrusted text
	Device    string        // "major:minor" of the super block; "" when the mount was not found
	Detail    string        // for people: why it is Unknown or Broken; untrusted text
	Started   time.Time     // when the look began; with CauseHung, since when there is no answer
	Finished  time.Time     // when the observation was made
}

// Definitive reports whether one confirmation of the observation is enough. A Tentative one needs more.
func (o Observation) Definitive() bool { return o.Cause.Definitive() && !o.Tentative }
