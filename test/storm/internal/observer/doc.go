// Package observer judges what agents do, by what the API server tells of it and nothing else: its audit log, a watch of pods and a
// watch of events. It shares no code with the agents.
//
// It leans on three facts (Kubernetes 1.37): the audit log has one line for each answered request, with the API server's clock and the
// answer's code; a pod that is removed is seen once more with its deletionTimestamp, and so with the annotations, node and grace
// period that it had at that very moment; and what is true of a mount stands in AnnotationFault before any look can find it.
//
// Deletions by the Kubelet are the cluster's own and not judged. Do not use it on a cluster that has other work: every other removal of
// a pod counts as an agent's.
package observer
