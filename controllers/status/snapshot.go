package status

import "time"

// Snapshot is one node at one moment. Its JSON names are an API.
type Snapshot struct {
	Time         time.Time     `json:"time"` // when it was made, by the node's clock, as are all times in it that say nothing else
	Node         string        `json:"node"`
	Agent        Agent         `json:"agent"`
	Summary      Summary       `json:"summary"`      // of the whole node, whatever a Filter has left
	Pods         []Pod         `json:"pods"`         // by namespace and name
	Removals     []Removal     `json:"removals"`     // that are followed, and the last that are over, since the agent started; the latest first
	EventSources []EventSource `json:"eventSources"` // what may announce that a look is due
	Workers      Workers       `json:"workers"`      // the processes that look at mounts
}

// Agent is the agent of the node.
type Agent struct {
	Version        string    `json:"version"`
	Kernel         string    `json:"kernel"`
	Started        time.Time `json:"started"`
	DryRun         bool      `json:"dryRun"`             // it decides and reports, and removes nothing
	LastLook       time.Time `json:"lastLook,omitzero"`  // when a look was last finished
	OverdueSeconds float64   `json:"overdueSeconds"`     // by how much the look that is most behind its time is late
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
	Problem   string    `json:"problem,omitempty"` // what is wrong with its annotations: it is never removed until that is mended
	LastLook  time.Time `json:"lastLook,omitzero"` // when all its mounts were last looked at
	NextLook  time.Time `json:"nextLook,omitzero"` // as soon as possible where it is absent
	Held      *Held     `json:"held,omitempty"`
	Removed   bool      `json:"removed"` // its removal was accepted, and it ends
	Mounts    []Mount   `json:"mounts"`  // by container and path; none before the first look
}

// Held says why a pod stays although a mount has failed.
type Held struct {
	Reason   string    `json:"reason"` // as in the metric mountwarden_remediations_held and in docs/remediation.md
	Message  string    `json:"message"`
	Since    time.Time `json:"since"`
	AskAgain time.Time `json:"askAgain,omitzero"` // its removal is not asked for again before
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
	Finding     string       `json:"finding,omitempty"` // what the latest look found, or why it could not tell
	Since       time.Time    `json:"since,omitzero"`    // since when it has been in this state; of a broken one, since when every look was broken
	LastProbe   *Probe       `json:"lastProbe,omitempty"`
	NextStep    NextStep     `json:"nextStep"`
	Transitions []Transition `json:"transitions"` // the last ones, the latest first
}

// Probe is the latest look at a mount that could tell.
type Probe struct {
	Time    time.Time `json:"time"`    // when it ended
	Seconds float64   `json:"seconds"` // from the question to the answer; with the cause Hung, for how long there has been none
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

// Removal is one removed pod of this node, and what came of it.
type Removal struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	UID       string    `json:"uid"`
	Owner     string    `json:"owner"`
	Backend   string    `json:"backend,omitempty"`
	Cause     string    `json:"cause"`
	Since     time.Time `json:"since"`               // since when the mount was broken; all times here are by the API server's clock
	Removed   time.Time `json:"removed"`             // when the removal was accepted
	Deadline  time.Time `json:"deadline"`            // by when a successor must be healthy
	Gone      bool      `json:"gone"`                // the removed pod has ended
	Stuck     string    `json:"stuck,omitempty"`     // why it does not end, long after its grace period
	Successor string    `json:"successor,omitempty"` // the pod that replaces it
	Aftermath string    `json:"aftermath,omitempty"` // Healed, StillBroken, StuckTerminating, StuckCreating, NoSuccessor; absent while it is followed
	Ended     time.Time `json:"ended,omitzero"`      // when the aftermath was found
}

// EventSource is a way in which the kernel may announce that a look is due. What has none is found at the next period.
type EventSource struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Watched   int    `json:"watched"` // mount tables, processes or file systems of which it announces the changes now
	Detail    string `json:"detail"`  // what it announces, or why it is not available
}

// Workers are the processes that look at mounts in the agent's place.
type Workers struct {
	Alive     int `json:"alive"`
	Idle      int `json:"idle"`
	InFlight  int `json:"inFlight"`  // that look at something now, the parked ones included
	Parked    int `json:"parked"`    // that have waited long for a mount's answer
	MaxParked int `json:"maxParked"` // with so many parked ones, other mounts that do not answer are Unknown
	Forsaken  int `json:"forsaken"`  // that were ended beyond that and are still inside the kernel
}
