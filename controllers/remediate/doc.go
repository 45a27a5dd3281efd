// Package remediate is the only code that evicts or deletes a pod.
//
// A Request passes gates in a fixed order, each a question with a named refusal: would something make a new pod, and would that get a
// healthy mount? Is it one removal too many, for its owner, its backend or the cluster? Is it still the same pod, still opted in and
// still broken? Those that cost nothing come first, so that a pod that is held for long costs the API server nothing. Only
// then is the API server asked, once, with the UID as a precondition, so that a pod that was recreated under the same name is
// never hit.
//
// Facts leaned on (Kubernetes 1.37, pkg/registry/core/pod/storage/eviction.go, tried on a real API server): an eviction
// answers 429 with the cause DisruptionBudget when a PodDisruptionBudget allows none (a busy API server answers 429 without
// it), 500 when several budgets select the pod, 404 and 409 when the pod
// is gone or has another UID. client-go sleeps on a Retry-After header unless it is told not to retry.
//
// Do not use it to find out whether a mount has failed; it believes its Request.
package remediate
