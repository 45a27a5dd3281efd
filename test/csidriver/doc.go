// Package csidriver is a small real CSI node driver over faultfs: pods get FUSE
// volumes whose servers a test can kill, hang and slow down. A volume may choose a FUSE
// program of the distribution instead, such as rclone: package volume lists them.
//
// It serves the Identity and Node services of the Container Storage Interface on one
// socket and registers itself with the kubelet on another (k8s.io/kubelet
// pluginregistration v1), with no sidecar. Volumes are inline ephemeral ones or
// static PersistentVolumes; there is no controller and nothing to provision.
//
// # What a volume is
//
// One FUSE server process serves one mount: each published target has its own, or,
// with staging, each staged volume, whose targets are then bind mounts of it. Inline
// volumes are never staged by the kubelet. See Attributes for what a volume's
// attributes choose.
//
// A program runs from the driver's own file system. Its image holds nothing but the
// driver, so that a driver of such volumes is shown the node's /usr and /lib
// (world.MountNodePrograms).
//
// # When the driver ends
//
// The FUSE servers die with it and leave dead mounts, as with every FUSE driver that
// keeps its servers in its container. Running pods then read ENOTCONN until they are
// replaced; their volumes unpublish properly once the driver is back. See package
// volume, which also says why no suspect mount can block the driver.
//
// # When a volume hangs
//
// The kubelet unpublishes a volume only after the pod's containers have ended. A
// process that waits on a request which the server has read (fault "hang") does not
// end, even by SIGKILL, so that its pod stays Terminating until someone aborts the
// connection or ends the fault: as with any FUSE, the driver is not asked. A request
// that was not read (fault "stop") ends with its process, and so does the pod.
//
// # Facts leaned on
//
//   - The kubelet finds a plugin by the socket that appears in plugins_registry, asks
//     it GetInfo, and only then dials the CSI endpoint; the CSI socket must listen
//     first (kubelet, pkg/kubelet/pluginmanager).
//   - A call that is repeated while the first one runs must be refused with ABORTED, a
//     repeated one after that succeed (CSI specification, "Concurrency" and each call).
//   - A mount in a container reaches the node and the pods only through a volume with
//     mountPropagation Bidirectional; see manifests.
//
// # When not to use it
//
// It is a tool of tests. It keeps data in memory and loses it with each server.
package csidriver
