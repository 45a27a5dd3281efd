package controllers

// Event reasons. They are an API: alerts and people match on them.
const (
	ReasonMountUnhealthy      = "MountUnhealthy"      // a mount has failed
	ReasonMountRecovered      = "MountRecovered"      // a mount answers again; nothing will be removed for it
	ReasonMountWarning        = "MountWarning"        // a mount is healthy, but something around it is not
	ReasonMountUnknown        = "MountUnknown"        // a mount cannot be judged
	ReasonPodRemediated       = "PodRemediated"       // the pod was evicted or deleted
	ReasonRemediationHeld     = "RemediationHeld"     // the pod stays although a mount has failed
	ReasonRemediationBlocked  = "RemediationBlocked"  // the API server refused the eviction, for now
	ReasonSuccessorHealthy    = "SuccessorHealthy"    // the pod that replaces a removed one has healthy mounts: the remediation is over
	ReasonSuccessorUnhealthy  = "SuccessorUnhealthy"  // the successor is broken too, or did not come up in time
	ReasonPodStuckTerminating = "PodStuckTerminating" // a removed pod does not end, and why
	ReasonBackendUnhealthy    = "BackendUnhealthy"    // many mounts of one backend have failed: one pod is tried first
	ReasonInvalidMountPolicy  = "InvalidMountPolicy"  // an annotation is not understood
)

// Held says why a pod with a failed mount stays. The values are an API: they stand in metric labels.
type Held string

// The reasons to hold a remediation.
const (
	HeldNone           Held = ""
	HeldReportMode     Held = "ReportMode"     // the pod's policy says never to act
	HeldDryRun         Held = "DryRun"         // the agent was told never to act
	HeldNoController   Held = "NoController"   // nothing would make a new pod
	HeldStaticPod      Held = "StaticPod"      // deleting its mirror restarts nothing
	HeldNotRunning     Held = "NotRunning"     // it is ending or not up: the kubelet is at work
	HeldOptedOut       Held = "OptedOut"       // the live object no longer asks for it
	HeldBudget         Held = "Budget"         // a PodDisruptionBudget allows no eviction now
	HeldBudgetConflict Held = "BudgetConflict" // several PodDisruptionBudgets select it; the API server refuses for ever
	HeldPaused         Held = "Paused"         // an annotation of the namespace or the node says so
	HeldJobWouldFail   Held = "JobWouldFail"   // the pod's Job allows no further failure, so that nothing would make a new pod
	HeldLeavingService Held = "LeavingService" // its readiness gate is taking it out of Services first
	HeldNoFreshMount   Held = "NoFreshMount"   // a fresh mount would fail: its backend is down
	HeldSharedVolume   Held = "SharedVolume"   // other pods keep the broken mount in use on this node
	HeldBackendStorm   Held = "BackendStorm"   // many mounts of its backend have failed: one pod is tried first
	HeldOwnerBusy      Held = "OwnerBusy"      // another pod of its controller is being replaced
	HeldBackoff        Held = "Backoff"        // its predecessor was removed a short while ago
	HeldGaveUp         Held = "GaveUp"         // too many removals in a row did not help: a person is needed
	HeldRateLimit      Held = "RateLimit"      // as many pods as the budgets allow were removed in this window, or other agents are asking
	HeldNotConfirmed   Held = "NotConfirmed"   // the last look before the act did not find it broken
	HeldAPIError       Held = "APIError"       // the API server did not answer, or with an error
)

// Holds lists all reasons to hold a remediation.
func Holds() []Held {
	return []Held{
		HeldReportMode, HeldDryRun, HeldNoController, HeldStaticPod, HeldNotRunning, HeldOptedOut, HeldBudget, HeldBudgetConflict, HeldPaused, HeldJobWouldFail,
		HeldLeavingService, HeldNoFreshMount, HeldSharedVolume, HeldBackendStorm, HeldOwnerBusy, HeldBackoff, HeldGaveUp, HeldRateLimit, HeldNotConfirmed,
		HeldAPIError,
	}
}
