// Package view says what mount tables prove: which mount of a container is that of a volume, what its line
// tells without a look, where the host has the same volume, and what both together mean.
//
// The facts it leans on: a runtime binds each volume from a path of the host, so the container's line has the super
// block (the device) of the host's mount there and, as its root, the folder within; a mount made there later is
// another line on the host and none in the container; and the kubelet keeps a pod's volumes at
// …/pods/UID/volumes/PLUGIN/NAME (kubernetes/pkg/kubelet/kubelet_getters.go). The text of a dead mount is the
// same as that of a living one.
//
// It does no I/O. A host's table that is absent or not understood proves nothing, and the container's alone decides. Do
// not use it to decide what to do: see package verdict.
package view
