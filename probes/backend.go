package probes

// BackendKind is the kind of thing that serves a mount. The values are an API: they are metric
// labels. The zero value is BackendUnknown.
type BackendKind string

// The kinds of backends.
const (
	BackendUnknown BackendKind = ""
	BackendCSI     BackendKind = "CSI"    // Name is the driver
	BackendNFS     BackendKind = "NFS"    // Name is the server
	BackendHost    BackendKind = "Host"   // the node has mounted it; Name is the path on the node
	BackendPod     BackendKind = "Pod"    // a container of the pod itself has mounted it; Name is the pod's UID
	BackendSource  BackendKind = "Source" // Name is the file system type and the source
)

// Backend names what serves a mount. Mounts of one backend that fail together count as one failure
// of the backend. It is comparable.
type Backend struct {
	Kind BackendKind
	Name string // untrusted text where Kind is BackendSource
}

// String returns the backend as written in events and in the agents' Leases, such as
// "CSI/driver.example.com".
func (b Backend) String() string { return string(b.Kind) + "/" + b.Name }

// Volume is a volume whose mount has failed, and what is known about its origin.
type Volume struct {
	Backend Backend
	PodUID  string // names the pod's directory of the kubelet
	Cause   Cause  // by which it has failed
	Host    HostVolume
	FSType  string // of the failed mount; "" when it was not found
	Source  string // of the failed mount; untrusted text
	Device  string // "major:minor" of the failed mount; "" when it was not found
}

// Readiness is the three-way answer to "would a new mount succeed now?". The zero value is Unclear.
type Readiness uint8

// The answers. Only NotReady keeps a pod from being evicted.
const (
	Unclear Readiness = iota // not known
	Ready
	NotReady
)

// String returns "Unclear", "Ready" or "NotReady".
func (r Readiness) String() string {
	switch r {
	case Ready:
		return "Ready"
	case NotReady:
		return "NotReady"
	default:
		return "Unclear"
	}
}

// MountReadiness says whether a new mount of a volume would succeed now, and why.
type MountReadiness struct {
	Readiness Readiness
	Detail    string // one clause for people; untrusted text
}

// Consumers is who uses a super block on this node.
type Consumers struct {
	Unknown bool     // the host's table cannot be read
	Staged  string   // where the kubelet has staged the volume for all pods of the node; "" when it has not
	PodUIDs []string // of the pods that have a volume on it, by the kubelet's directories, each once
}
