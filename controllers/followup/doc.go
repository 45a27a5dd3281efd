// Package followup watches what comes of an eviction: a remediation is over when the replacement
// pod's mounts are healthy, not when the evicted pod is gone.
//
// It relies on two facts of the API (Kubernetes API concepts, "Get State and Start at Most
// Recent"): a watch from a resourceVersion brings every change since, and a watch without one
// begins with the present state, as one ADDED event for each object. So one plain watch of the pods
// that the evicted pod's labels select shows its end and its replacement, on whatever node that
// starts. It costs nothing while nothing is evicted. The first events of a new watch do not show
// what a broken watch missed, so the evicted pod is then read by its name.
//
// What is known of one eviction, and what it means, is in removalState, which does no I/O and has
// no clock of its own. A tracker is the goroutine that feeds it:
//
//	Follow, or an entry of the ledger
//	   |
//	   v
//	connectWatch -> handleEvent -> judgeOnce -> closeRemoval -> reportResult
//	   ^                |                          |
//	   +-- closeWatch <-+                          +-> replaceResult, if late
//
// Follower.Start waits for all trackers. While the API server cannot be reached nothing is
// concluded: not to see a replacement pod is not the same as there being none.
//
// It does not decide whether a mount is healthy. The agent on the replacement's node does, and
// reports it in the pod's condition controllers.ConditionMountsHealthy. Do not use it to wait for a
// pod.
package followup
