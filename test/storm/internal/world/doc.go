// Package world plays a cluster on a real API server: the kubelets, the controllers that keep pods, and the backends that serve their
// volumes. Everything that can be seen from outside is a plain API object; what a look at a mount would find is a model in memory.
//
// It leans on the order in which a cluster changes: what is broken stands in the pod's annotation (observer.AnnotationFault) before a
// look can find it, and is struck out only well after no look can. So whoever sees only the API knows enough to judge a removal.
//
// A mount that was made before its backend went down stays broken when that comes back, as a FUSE does; a pod that starts while
// the backend is down waits for it, as with a kubelet that cannot mount. Do not use it for what a kubelet does to real mounts: there
// are none.
package world
