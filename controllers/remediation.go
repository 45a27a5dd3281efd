package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Request asks for the eviction of one pod. The Decision is the reason, and the only one.
type Request struct {
	Pod          *corev1.Pod // from the cache; its UID is the one that was judged
	Policy       config.Policy
	Decision     verdict.Decision
	State        verdict.State   // the state of the pod's mounts that the Decision was made from
	Rules        verdict.Rules   // the rules that the Decision was made by
	Look         probes.Pod      // what the prober is asked for, for the last probe before the eviction
	Volume       probes.Volume   // the volume whose mount is the reason
	Others       []probes.Volume // the volumes of the pod's other broken mounts, confirmed or not
	Mounts       []Status        // every watched mount of this node, including this pod's
	Healthy      time.Duration   // for how long all its mounts were healthy before one failed; 0 if not known
	BlockedSince time.Time       // since when a PodDisruptionBudget has refused this pod; zero when it has not
}

// Outcome is how a Request ended. The values are an API: they are metric labels.
type Outcome string

// The outcomes of a Request.
const (
	OutcomeEvicted Outcome = "Evicted"   // the API server accepted the eviction
	OutcomeDeleted Outcome = "Deleted"   // the API server accepted the deletion
	OutcomeGone    Outcome = "Gone"      // the pod does not exist any more, or another pod has its name
	OutcomeHeld    Outcome = "Held"      // not evicted, for the reason in Result.Held
	OutcomeBlocked Outcome = "Blocked"   // a PodDisruptionBudget refused the eviction; to be retried
	OutcomeHealthy Outcome = "Recovered" // not evicted: the last probe found the mount healthy
	OutcomeFailed  Outcome = "Failed"    // the API server did not answer, or returned an error; to be retried
)

// Removed reports whether the API server has accepted the eviction or deletion, so that no further
// Request is made.
func (o Outcome) Removed() bool {
	return o == OutcomeEvicted || o == OutcomeDeleted
}

// Result is the answer to a Request.
type Result struct {
	Outcome    Outcome
	Action     config.Action // what was done or attempted
	Held       Held          // why it was not done; HeldNone if it was
	Message    string        // one sentence for users: what was found and what happens next
	RetryAfter time.Duration // how long to wait before the next Request; 0 leaves it to the caller
}

// Aftermath is the result of the follow-up: how a remediation ended, judged by the replacement pod.
// The values are an API: they are metric labels. The zero value is AftermathPending.
type Aftermath string

// The results of a follow-up.
const (
	AftermathPending          Aftermath = ""                 // not known yet
	AftermathHealed           Aftermath = "Healed"           // the replacement pod's mounts are healthy
	AftermathStillBroken      Aftermath = "StillBroken"      // the replacement pod's mounts have failed too
	AftermathStuckCreating    Aftermath = "StuckCreating"    // the replacement pod did not become healthy in time
	AftermathStuckTerminating Aftermath = "StuckTerminating" // the evicted pod did not end; no replacement is healthy
	AftermathNoSuccessor      Aftermath = "NoSuccessor"      // the evicted pod ended, and no replacement was created
)

// Aftermaths lists all results of a follow-up.
func Aftermaths() []Aftermath {
	return []Aftermath{AftermathHealed, AftermathStillBroken, AftermathStuckCreating, AftermathStuckTerminating, AftermathNoSuccessor}
}

// Status is the state of one watched mount.
type Status struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	FolderUID string // the UID in the path of the pod's directory of the kubelet
	Mode      config.Mode
	Backend   probes.Backend
	Target    probes.Target
	Mount     verdict.Mount
	Held      Held
}
