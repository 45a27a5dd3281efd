// Package remediate is the only code that evicts or deletes a pod.
//
// A Request passes gates in a fixed order. Each gate is one question with a named reason to hold
// the pod:
//
//	checkMode            does the pod's policy permit an eviction?
//	checkRecreated       would something create a replacement pod?
//	checkPaused          is the namespace or the node paused?
//	checkServicesLeft    has a pod with the readiness gate left its Services?
//	checkSharedVolumes   would another pod keep the broken mount in use?
//	checkBackendsReady   would the replacement get a healthy mount?
//	checkLedger          is it one eviction too many for the owner, the backend or the cluster?
//	checkLastProbe       is the mount still broken?
//	checkSamePod         is it still the same pod, and running?
//	checkOptedIn         is it still opted in?
//	checkJobRetries      would its Job create a replacement pod?
//	checkDryRun          does the agent run with dryRun?
//
// checkPaused and checkRecreated are asked once more after the last probe.
//
// Gates that cost nothing come first, so that a pod that is held for long costs the API server
// nothing. Then the eviction is reserved in the ledger (reserveRemoval). Only after that is the API
// server asked, once, with the UID as a precondition, so that a pod that was recreated under the
// same name is never evicted.
//
// It relies on these facts (Kubernetes 1.37, pkg/registry/core/pod/storage/eviction.go, tried on a
// real API server). An eviction is answered with 429 and the cause DisruptionBudget when a
// PodDisruptionBudget allows none; a busy API server answers 429 without it. It is answered with
// 500 when several budgets select the pod, and with 404 or 409 when the pod is gone or has another
// UID. client-go sleeps on a Retry-After header unless it is told not to retry.
//
// Do not use it to find out whether a mount has failed: it believes its Request.
package remediate
