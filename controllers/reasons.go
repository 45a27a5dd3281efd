package controllers

// Event reasons. They are an API: alerts and queries match on them.
const (
	ReasonMountUnhealthy      = "MountUnhealthy"      // a mount has failed
	ReasonMountRecovered      = "MountRecovered"      // a mount answers again; no pod is evicted because of it
	ReasonMountWarning        = "MountWarning"        // a mount is healthy, but something around it is wrong
	ReasonMountUnknown        = "MountUnknown"        // a mount cannot be judged
	ReasonPodRemediated       = "PodRemediated"       // the pod was evicted or deleted
	ReasonRemediationHeld     = "RemediationHeld"     // the pod is not evicted although a mount has failed
	ReasonRemediationBlocked  = "RemediationBlocked"  // the API server refused the eviction, for now
	ReasonSuccessorHealthy    = "SuccessorHealthy"    // the replacement pod has healthy mounts: the remediation is over
	ReasonSuccessorUnhealthy  = "SuccessorUnhealthy"  // the replacement pod is broken too, or not healthy in time
	ReasonPodStuckTerminating = "PodStuckTerminating" // an evicted pod does not end, and why
	ReasonBackendUnhealthy    = "BackendUnhealthy"    // many mounts of one backend have failed: one pod is tried first
	ReasonInvalidMountPolicy  = "InvalidMountPolicy"  // an annotation is invalid
)

// Held is the reason why a pod with a failed mount is not evicted. The values are an API: they are
// metric labels.
type Held string

// The reasons to hold a remediation.
const (
	HeldNone           Held = ""
	HeldReportMode     Held = "ReportMode"     // the pod's policy is to report only
	HeldDryRun         Held = "DryRun"         // the agent runs in dry-run mode
	HeldNoController   Held = "NoController"   // nothing would create a replacement pod
	HeldStaticPod      Held = "StaticPod"      // deleting its mirror pod restarts nothing
	HeldNotRunning     Held = "NotRunning"     // it is starting or ending: the kubelet is at work
	HeldOptedOut       Held = "OptedOut"       // the pod in the API no longer asks for it
	HeldBudget         Held = "Budget"         // a PodDisruptionBudget allows no eviction now
	HeldBudgetConflict Held = "BudgetConflict" // several PodDisruptionBudgets select it: the API server always refuses
	HeldPaused         Held = "Paused"         // an annotation of the namespace or the node pauses remediation
	HeldJobWouldFail   Held = "JobWouldFail"   // its Job allows no further failure: nothing would create a replacement
	HeldLeavingService Held = "LeavingService" // its readiness gate is taking it out of Services first
	HeldNoFreshMount   Held = "NoFreshMount"   // a fresh mount would fail: its backend is down
	HeldSharedVolume   Held = "SharedVolume"   // other pods on this node keep the broken mount in use
	HeldBackendStorm   Held = "BackendStorm"   // many mounts of its backend have failed: one pod is tried first
	HeldOwnerBusy      Held = "OwnerBusy"      // another pod of its controller is being replaced
	HeldBackoff        Held = "Backoff"        // its predecessor was evicted a short while ago
	HeldGaveUp         Held = "GaveUp"         // too many consecutive evictions did not help: needs manual action
	HeldRateLimit      Held = "RateLimit"      // the budgets of all agents are used up, or the ledger is being updated
	HeldNotConfirmed   Held = "NotConfirmed"   // the last probe before the eviction did not find the mount broken
	HeldAPIError       Held = "APIError"       // the API server did not answer, or returned an error
)

// Holds lists all reasons to hold a remediation.
func Holds() []Held {
	return []Held{
		HeldReportMode, HeldDryRun, HeldNoController, HeldStaticPod, HeldNotRunning, HeldOptedOut, HeldBudget, HeldBudgetConflict, HeldPaused, HeldJobWouldFail,
		HeldLeavingService, HeldNoFreshMount, HeldSharedVolume, HeldBackendStorm, HeldOwnerBusy, HeldBackoff, HeldGaveUp, HeldRateLimit, HeldNotConfirmed,
		HeldAPIError,
	}
}
