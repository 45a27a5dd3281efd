// Package verdict turns observations into a decision: (state, observations, rules, now) -> (state, verdict).
//
// It is pure: no I/O, no clock, no Kubernetes. Every mount of a pod has a small state machine of its own,
//
//	Unjudged -> Healthy -> Suspect -> Failed
//
// and all the mounts of a pod are judged together, so that a second failure is never lost while the first one
// waits. What a cause needs to be believed is measured in docs/architecture.md: an errno that the kernel never takes
// back needs a second look at once, a missing mount one a second later, a hang must last (a FUSE server may hand its
// connection over for tens of seconds), and everything else needs several looks in a row, half a period apart at
// least, however many an event calls for.
//
// What may have been so by design (a read-only volume, a canary that was never there) counts only after a better look
// at the same mount, and what may mend itself (a mount below a volume that the driver replaces) is never definitive.
//
// An observation that is Unknown changes nothing and resets nothing. Do not use this package to find out whether
// removing the pod would help or is allowed: that is what controllers/remediate asks.
package verdict
