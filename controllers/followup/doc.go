// Package followup watches over what comes of a removal: a remediation is over when the successor's mounts are healthy, not
// when the pod is gone.
//
// It leans on two facts of the API: a watch from a resourceVersion brings every change since, and one without starts with the state of
// now, as one ADDED event an object (Kubernetes API concepts, "Get State and Start at Most Recent"). So one plain watch of the pods
// that the removed pod's labels select shows its end and its successor, on whatever node that lands, and costs nothing while
// nothing was removed. What a broken watch has missed is not in the next one's first events; whether the removed pod is
// still there is therefore asked by its name then.
//
// What is known of one removal, and what it means, is in trail, which does no I/O and has no clock of its own. A pursuit is
// the goroutine that feeds it, and Follower.Start waits for all of them. While the API server cannot be reached nothing is
// concluded: not to see a successor is not the same as there being none.
//
// It does not decide whether a mount is healthy: the agent of the successor's node does, and says so in the pod's condition
// controllers.ConditionMountsHealthy. Do not use it to wait for a pod.
package followup
