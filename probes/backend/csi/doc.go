// Package csi asks whether a CSI driver would serve a volume now: whether it is registered with
// this node's kubelet, and says that it is ready.
//
// These are the facts it relies on. A driver's registrar keeps a socket in the kubelet's directory
// plugins_registry, and answers there with the driver's name and the socket of the driver itself
// (kubernetes/pkg/kubelet/pluginmanager). The kubelet stores the driver of a volume in
// vol_data.json beside the volume's mount. And Identity.Probe is how a driver says that it is not
// ready (CSI specification).
//
// All of these are on the host, whose root directory is reached through /proc/PID/root of its first
// process. Every path is resolved below that root (openat2(2), RESOLVE_IN_ROOT), and a socket is
// connected to by its descriptor, so that no symlink leads into this process's own root.
//
// Only the program that asks backends uses it, and it is the only importer of gRPC: the agent stays
// without. It never mounts or unmounts anything, and never enters a volume's mount.
package csi
