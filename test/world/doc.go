// Package world is what the end-to-end tests and the demo see and do of the test cluster: they make apps on FUSE
// volumes, break the volumes, and read pods, events and metrics. It asserts nothing.
//
// It runs inside the cluster's namespaces (`cluster exec`), with kubectl and KUBECONFIG at hand. Do not use it against
// a cluster that is not for tests: it deletes what it made, but it breaks mounts on purpose.
package world
