// Package condition writes one condition of a pod's status: the durable record of the health of its
// mounts, which a readiness gate may ask for.
//
// It relies on these facts (Kubernetes 1.37, tried on a real API server). A strategic merge patch
// merges conditions by their type and does not change others. The API server rejects a patch whose
// metadata has a UID other than the pod's as a change of the UID (422). So a new pod of the same
// name never gets the condition of the pod before it. The kubelet keeps conditions of types that it
// does not know.
//
// Do not use it to decide anything: the caller says what to write, and when.
package condition
