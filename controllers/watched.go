package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Watched is one watched pod as it is now, for people to read.
type Watched struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	Owner     string // "ReplicaSet/web"; "" without a controller
	Mode      config.Mode
	Action    config.Action
	Rules     verdict.Rules
	Problem   string // what is wrong with its annotations; "" when nothing is

	Held      Held      // why it stays although a mount has failed
	Message   string    // what came of asking for its removal, for people; parts are untrusted
	HeldSince time.Time // since when it is held for this reason
	AskAgain  time.Time // its removal is not asked for again before; zero is at the next look
	Removed   bool      // the API server has accepted its removal

	Looked   time.Time // when its mounts were last looked at; zero before the first time
	NextLook time.Time // when they are to be looked at; while they are, by when the look must have ended; zero is as soon as possible
	Mounts   []WatchedMount
}

// WatchedMount is one mount of a Watched pod.
type WatchedMount struct {
	Target  probes.Target
	Mount   verdict.Mount
	Backend probes.Backend
	Since   time.Time    // since when it has been in the state that it is in
	History []Transition // its last transitions, the oldest first; not to be changed
}

// Transition is one change of what was believed of a mount.
type Transition struct {
	At      time.Time
	State   string // verdict.Mount.Shown
	Cause   probes.Cause
	Warning probes.Warning
	Detail  string // what was found, for people; untrusted text
}

// Removal is one removal of a pod of this node and what has come of it, for people to read.
type Removal struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	Owner     string // "ReplicaSet/web"
	Backend   string
	Cause     probes.Cause
	Since     time.Time // since when the mount was broken
	At        time.Time // when the pod was removed
	Deadline  time.Time // by when a successor must be healthy
	Gone      bool      // the removed pod is not in the API any more
	Stuck     string    // why the removed pod does not end; "" while it has time to; parts are untrusted
	Successor string    // the name of the pod that replaces it; "" while there is none
	Aftermath Aftermath // AftermathPending while it is followed
	Ended     time.Time // when the Aftermath was found
}
