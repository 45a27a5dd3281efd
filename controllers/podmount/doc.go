// Package podmount reconciles one watched pod of this node: look, decide, report and, only if the decision says so,
// remediate. It reports by events, by counters and by the pod's condition mountwarden.io/MountsHealthy.
//
// It leans on three things that others do: a Prober that answers for every mount within a deadline, the pure state
// machine of package verdict, and a Remediator, which says when it may be asked again. Waiting is a RequeueAfter; nothing here blocks on a mount. What is
// remembered of a pod lives in memory under its name and is stamped with its UID: another UID starts afresh, and an
// agent that starts again looks twice before it believes anything.
//
// Do not use it for pods of other nodes: the cache that feeds it holds this node's pods only.
package podmount
