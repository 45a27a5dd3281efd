// Package verdict turns observations into a decision: (state, observations, rules, now) -> (state,
// verdict). It is pure: no I/O, no clock, no Kubernetes.
//
// Every mount of a pod has a small state machine of its own:
//
//	Unjudged --healthy--> Healthy
//	Unjudged --broken---> Suspect
//	Healthy  --broken---> Suspect
//	Suspect  --healthy--> Healthy
//	Suspect  --broken, and enough evidence--> Failed
//	Failed   --healthy--> Healthy
//
// All mounts of a pod are judged together, so that a second failure is not lost while the first one
// waits. How much evidence a cause needs is explained in docs/architecture.md:
//
//   - A permanent cause, which the kernel never takes back for the same mount, needs a second probe,
//     at least ConfirmErrnoAfter later, or ConfirmTableAfter if the mount is missing from the table.
//   - A hang must last for Rules.Hang, because a FUSE server may hand its connection over to
//     another process, which takes tens of seconds.
//   - Every other cause needs Rules.FailureThreshold probes in a row, at least half a period apart.
//     Probes that an event triggered in between do not count.
//
// What may be by design (a read-only volume, a canary that was never there) counts only after a
// better observation of the same mount. What may recover by itself (a mount below a volume that the
// driver replaces) is never permanent.
//
// An observation that is Unknown changes nothing and resets nothing.
//
// Do not use this package to find out whether evicting the pod would help or is allowed: that is
// what controllers/remediate asks.
package verdict
