package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Watched is the present state of one watched pod, for the status page.
type Watched struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	Owner     string // "ReplicaSet/web"; "" without a controller
	Mode      config.Mode
	Action    config.Action
	Rules     verdict.Rules
	Problem   string // what is wrong with its annotations; "" if nothing is

	Held      Held      // why it is not evicted although a mount has failed
	Message   string    // the result of the latest Request, for users; parts are untrusted text
	HeldSince time.Time // since when it is held for this reason
	AskAgain  time.Time // when its eviction is requested again at the earliest; zero means at the next probe
	Removed   bool      // the API server has accepted its eviction

	Looked   time.Time // when its mounts were last probed; zero before the first probe
	NextLook time.Time // when they are probed next, or when the present probe must have ended; zero means now
	Mounts   []WatchedMount
}

// WatchedMount is one mount of a Watched pod.
type WatchedMount struct {
	Target  probes.Target
	Mount   verdict.Mount
	Backend probes.Backend
	Since   time.Time    // since when it has been in its present state
	History []Transition // its latest transitions, oldest first; must not be changed
}

// Transition is one change of a mount's state as the status page shows it. What Step reports of a
// change is a verdict.Transition.
type Transition struct {
	At      time.Time
	State   string // verdict.Mount.Shown
	Cause   probes.Cause
	Warning probes.Warning
	Detail  string // what was found, for users; untrusted text
}

// Removal is one eviction of a pod of this node and its follow-up, for the status page.
type Removal struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	Owner     string // "ReplicaSet/web"
	Backend   string
	Cause     probes.Cause
	Since     time.Time // since when the mount was broken
	At        time.Time // when the pod was evicted
	Deadline  time.Time // when a replacement pod must be healthy
	Gone      bool      // the evicted pod is not in the API any more
	Stuck     string    // why the evicted pod does not end; "" while it still has time; parts are untrusted text
	Successor string    // the name of the replacement pod; "" while there is none
	Aftermath Aftermath // AftermathPending during the follow-up
	Ended     time.Time // when the Aftermath was found
}
