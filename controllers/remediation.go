package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Request asks for the removal of one pod. The Decision is the reason, and the only one.
type Request struct {
	Pod          *corev1.Pod // as cached; its UID is the one that was judged
	Policy       config.Policy
	Decision     verdict.Decision
	State        verdict.State   // of the pod's mounts, which the Decision was made from
	Rules        verdict.Rules   // by which it was made
	Look         probes.Pod      // what the prober is asked, for the last look
	Volume       probes.Volume   // whose mount is the reason
	Others       []probes.Volume // of the pod's other broken mounts, confirmed or not
	Mounts       []Status        // every watched mount of this node, this pod's included
	Healthy      time.Duration   // for how long all mounts of the pod were seen healthy before one failed; 0 when that is not known
	BlockedSince time.Time       // since when a PodDisruptionBudget has refused this pod; zero when it has not
}

// Outcome is how a Request ended. The values are an API: they stand in metric labels.
type Outcome string

// The outcomes of a Request.
const (
	OutcomeEvicted Outcome = "Evicted"   // the API server accepted the eviction
	OutcomeDeleted Outcome = "Deleted"   // the API server accepted the deletion
	OutcomeGone    Outcome = "Gone"      // the pod is not there any more, or another has its name
	OutcomeHeld    Outcome = "Held"      // not done, for the reason in Result.Held
	OutcomeBlocked Outcome = "Blocked"   // a PodDisruptionBudget refused; to be asked again
	OutcomeHealthy Outcome = "Recovered" // not done: the last look found the mount healthy
	OutcomeFailed  Outcome = "Failed"    // the API server did not answer or with an error; to be asked again
)

// Removed reports whether the API server has accepted the removal, so that no further Request is to be made.
func (o Outcome) Removed() bool {
	return o == OutcomeEvicted || o == OutcomeDeleted
}

// Result is what came of a Request.
type Result struct {
	Outcome    Outcome
	Action     config.Action // what was done or tried
	Held       Held          // why not, when it was not done
	Message    string        // one sentence for people: what was found and what will happen next
	RetryAfter time.Duration // not to be asked again before, however often the mounts are looked at; 0 leaves it to the caller
}

// Aftermath is how a remediation ended, seen by its successor. The values are an API: they stand in metric labels. The zero
// value is AftermathPending.
type Aftermath string

// The ends of a remediation.
const (
	AftermathPending          Aftermath = ""                 // nothing is known yet
	AftermathHealed           Aftermath = "Healed"           // the successor's mounts are healthy
	AftermathStillBroken      Aftermath = "StillBroken"      // the successor's mounts have failed too
	AftermathStuckCreating    Aftermath = "StuckCreating"    // the successor did not come up in time
	AftermathStuckTerminating Aftermath = "StuckTerminating" // the removed pod did not end in time, and no successor came up
	AftermathNoSuccessor      Aftermath = "NoSuccessor"      // the pod ended and nothing made a new one in time
)

// Aftermaths lists all ends.
func Aftermaths() []Aftermath {
	return []Aftermath{AftermathHealed, AftermathStillBroken, AftermathStuckCreating, AftermathStuckTerminating, AftermathNoSuccessor}
}

// Status is the state of one watched mount.
type Status struct {
	Namespace string
	Pod       string
	PodUID    types.UID
	FolderUID string // names the pod's folder of the kubelet
	Mode      config.Mode
	Backend   probes.Backend
	Target    probes.Target
	Mount     verdict.Mount
	Held      Held
}
