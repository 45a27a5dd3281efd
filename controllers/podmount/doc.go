// Package podmount reconciles the watched pods of this node: it probes a pod's mounts, has them
// judged, reports what changed and, only if the verdict says so, asks for a remediation. It reports
// by events, counters, log lines and the pod's condition mountwarden.io/MountsHealthy.
//
// It relies on three parts. A Prober answers for every mount within a deadline, the pure state
// machine of package verdict decides, and a Remediator says when it may be asked again. To wait is
// to return RequeueAfter; nothing here blocks on a mount.
//
// What is known of a pod (podState) is kept in memory under the pod's name, with its UID. A pod
// with another UID starts without a past. So does every pod when the agent restarts: a failure is
// then confirmed again by a second probe before anything is done.
//
// Do not use it for pods of other nodes: the cache that feeds it holds this node's pods only.
package podmount
