// Package condition writes one condition of a pod's status: the durable record of what is believed of its mounts, which a readiness
// gate may ask for.
//
// Facts leaned on (Kubernetes 1.37, tried on a real API server): a strategic merge patch merges conditions by their type
// and leaves those of others alone; a UID in its metadata that is not the pod's is refused as a change of it (422), so that a
// successor of the same name never gets its predecessor's condition; the kubelet keeps conditions of types that it does not know.
//
// Do not use it to decide anything: whoever calls it says what is to be written, and when.
package condition
