package status

import "time"

// Snapshot is one node at one moment. Its JSON names are an API.
type Snapshot struct {
	Time         time.Time     `json:"time"` // when it was made; by the node's clock, as all times that do not say otherwise
	Node         string        `json:"node"`
	Agent        Agent         `json:"agent"`
	Summary      Summary       `json:"summary"`      // of the whole node, whatever a Filter has left
	Pods         []Pod         `json:"pods"`         // by namespace and name
	Removals     []Removal     `json:"removals"`     // that are followed, and the last that are over; since the agent started, latest first
	EventSources []EventSource `json:"eventSources"` // what may announce that a probe is due
	Workers      Workers       `json:"workers"`      // the processes that probe mounts
}

// Agent is the agent of the node.
type Agent struct {
	Version        string    `json:"version"`
	Kernel         string    `json:"kernel"`
	Started        time.Time `json:"started"`
	DryRun         bool      `json:"dryRun"`             // it decides and reports, and evicts nothing
	LastLook       time.Time `json:"lastLook,omitzero"`  // when a probe last ended
	OverdueSeconds float64   `json:"overdueSeconds"`     // by how much the most delayed probe is late
	Selector       string    `json:"selector,omitempty"` // label selector of the namespaces whose pods may opt in
}

// Summary counts.
type Summary struct {
	Pods     int `json:"pods"` // watched
	Mounts   int `json:"mounts"`
	Healthy  int `json:"healthy"` // mounts by their state
	Suspect  int `json:"suspect"`
	Failed   int `json:"failed"`
	Unknown  int `json:"unknown"`
	Warnings int `json:"warnings"` // Healthy mounts around which something is wrong
	Held     int `json:"held"`     // pods that stay although a mount has failed
}

// Pod is one watched pod.
type Pod struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Owner     string    `json:"owner,omitempty"`   // who makes a new one: "ReplicaSet/web"
	Mode      string    `json:"mode"`              // Remediate or Report
	Action    string    `json:"action"`            // Evict or Delete
	Problem   string    `json:"problem,omitempty"` // what is wrong with its annotations; it is not evicted until they are fixed
	LastLook  time.Time `json:"lastLook,omitzero"` // when all its mounts were last probed
	NextLook  time.Time `json:"nextLook,omitzero"` // as soon as possible where it is absent
	Held      *Held     `json:"held,omitempty"`
	Removed   bool      `json:"removed"` // its eviction was accepted, and it terminates
	Mounts    []Mount   `json:"mounts"`  // by container and path; none before the first probe
}

// Held says why a pod stays although a mount has failed.
type Held struct {
	Reason   string    `json:"reason"` // as in the metric mountwarden_remediations_held and in docs/remediation.md
	Message  string    `json:"message"`
	Since    time.Time `json:"since"`
	AskAgain time.Time `json:"askAgain,omitzero"` // the gates are not checked again before
}

// Mount is one watched mount of a Pod.
type Mount struct {
	Container   string       `json:"container"`
	Volume      string       `json:"volume"`
	MountPoint  string       `json:"mountPoint"`
	FSType      string       `json:"fsType,omitempty"`
	Source      string       `json:"source,omitempty"`
	Backend     string       `json:"backend,omitempty"` // what serves it
	State       string       `json:"state"`             // Healthy, Suspect (broken, not yet confirmed), Failed or Unknown
	Cause       string       `json:"cause,omitempty"`   // as in the metric mountwarden_mount_state
	Warning     string       `json:"warning,omitempty"` // what is wrong around a Healthy mount
	Finding     string       `json:"finding,omitempty"` // what the latest probe found, or why it has no result
	Since       time.Time    `json:"since,omitzero"`    // when it entered this state; of a broken one, its first failed probe
	LastProbe   *Probe       `json:"lastProbe,omitempty"`
	NextStep    NextStep     `json:"nextStep"`
	Transitions []Transition `json:"transitions"` // the last ones, the latest first
}

// Probe is the latest probe of a mount that has a result.
type Probe struct {
	Time    time.Time `json:"time"`    // when it ended
	Seconds float64   `json:"seconds"` // until the answer; with the cause Hung, for how long there has been none
}

// NextStep is what the agent will do next about a mount.
type NextStep struct {
	Step Step      `json:"step"`
	Text string    `json:"text"`
	At   time.Time `json:"at,omitzero"` // when; as soon as possible where it is absent
}

// Transition is one change of what was believed of a mount.
type Transition struct {
	Time    time.Time `json:"time"`
	State   string    `json:"state"`
	Cause   string    `json:"cause,omitempty"`
	Warning string    `json:"warning,omitempty"`
	Detail  string    `json:"detail,omitempty"`
}

// Removal is one evicted pod of this node, and the follow-up of it.
type Removal struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	UID       string    `json:"uid"`
	Owner     string    `json:"owner"`
	Backend   string    `json:"backend,omitempty"`
	Cause     string    `json:"cause"`
	Since     time.Time `json:"since"`               // when the mount broke; all times here are by the API server's clock
	Removed   time.Time `json:"removed"`             // when the eviction was accepted
	Deadline  time.Time `json:"deadline"`            // when a replacement pod must be healthy
	Gone      bool      `json:"gone"`                // the evicted pod has terminated
	Stuck     string    `json:"stuck,omitempty"`     // why it does not terminate, long after its grace period
	Successor string    `json:"successor,omitempty"` // the pod that replaces it
	Aftermath string    `json:"aftermath,omitempty"` // how the follow-up ended (docs/remediation.md); absent until then
	Ended     time.Time `json:"ended,omitzero"`      // when the follow-up ended
}

// EventSource is a way in which the kernel may announce that a probe is due. A change without one
// is found at the next period.
type EventSource struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Watched   int    `json:"watched"` // mount tables, processes or file systems of which it announces the changes now
	Detail    string `json:"detail"`  // what it announces, or why it is not available
}

// Workers are the processes that probe mounts in the agent's place.
type Workers struct {
	Alive     int `json:"alive"`
	Idle      int `json:"idle"`
	InFlight  int `json:"inFlight"`  // that probe a mount now, including the parked ones
	Parked    int `json:"parked"`    // that have waited long for a mount's answer
	MaxParked int `json:"maxParked"` // with this many parked, other mounts that do not answer are Unknown
	Forsaken  int `json:"forsaken"`  // that were killed beyond that and are still inside the kernel
}
