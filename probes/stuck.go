package probes

// Stuck says why a pod that was removed does not end, as far as its node can tell.
type Stuck struct {
	Known bool     // false: it could not be examined, and Text says why
	Text  string   // one line for people; its parts are untrusted, since processes and mounts choose their names
	FUSE  []string // devices, "major:minor", of the FUSE file systems that keep the pod
}
