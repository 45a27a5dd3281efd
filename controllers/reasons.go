package controllers

// Event reasons. They are an API: alerts and people match on them.
const (
	ReasonMountUnhealthy     = "MountUnhealthy"     // a mount has failed
	ReasonMountRecovered     = "MountRecovered"     // a mount answers again; nothing will be removed for it
	ReasonMountWarning       = "MountWarning"       // a mount is healthy, but something around it is not
	ReasonMountUnknown       = "MountUnknown"       // a mount cannot be judged
	ReasonPodRemediated      = "PodRemediated"      // the pod was evicted or deleted
	ReasonRemediationHeld    = "RemediationHeld"    // the pod stays although a mount has failed
	ReasonRemediationBlocked = "RemediationBlocked" // the API server refused the eviction, for now
	ReasonInvalidMountPolicy = "InvalidMountPolicy" // an annotation is not understood
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
	HeldAPIError       Held = "APIError"       // the API server did not answer, or with an error
)
