package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Request asks for the removal of one pod. The Decision is the reason, and the only one.
type Request struct {
	Pod          *corev1.Pod // as cached; its UID is the one that was judged
	Policy       config.Policy
	Decision     verdict.Decision
	BlockedSince time.Time // since when a PodDisruptionBudget has refused this pod; zero when it has not
}

// Outcome is how a Request ended. The values are an API: they stand in metric labels.
type Outcome string

// The outcomes of a Request.
const (
	OutcomeEvicted Outcome = "Evicted" // the API server accepted the eviction
	OutcomeDeleted Outcome = "Deleted" // the API server accepted the deletion
	OutcomeGone    Outcome = "Gone"    // the pod is not there any more, or another has its name
	OutcomeHeld    Outcome = "Held"    // not done, for the reason in Result.Held
	OutcomeBlocked Outcome = "Blocked" // a PodDisruptionBudget refused; to be asked again
	OutcomeFailed  Outcome = "Failed"  // the API server did not answer or with an error; to be asked again
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
	RetryAfter time.Duration // when to ask again; 0 leaves it to the caller
}

// Status is the state of one watched mount, for metrics.
type Status struct {
	Namespace string
	Pod       string
	Target    probes.Target
	Mount     verdict.Mount
	Held      Held
}
