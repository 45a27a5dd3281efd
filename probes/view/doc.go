// Package view says what the text of mount tables proves: which mount of a container is that of a
// volume, what its line says without a probe, where the host has the same volume, and what both
// together mean.
//
// These are the facts it relies on. A runtime binds each volume from a path of the host. So the
// container's line has the super block (the device) of the host's mount there, and as its root the
// directory within it. A mount that is made there later adds a line on the host, and none in the
// container. The kubelet keeps a pod's volumes at …/pods/UID/volumes/PLUGIN/NAME
// (kubernetes/pkg/kubelet/kubelet_getters.go). And the line of a dead mount is the same as that of
// a healthy one.
//
// It does no I/O. A host's table that is absent or cannot be parsed proves nothing, and the
// container's alone decides. It decides nothing about a pod: see package verdict.
package view
