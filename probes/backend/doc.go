// Package backend answers whether a fresh mount of a volume would succeed now: whether its CSI driver or NFS server answers, or the
// host's mount that it is bound from is healthy.
//
// The fact it leans on: a driver, a server and the kubelet's folders may hang as mounts do, and the libraries to talk to them
// are several times as large as a worker. So each question goes to a process of its own (package answer), which is killed when it is late; one
// that is stuck in the kernel is not waited for, but keeps its place among the few that there may be, and nobody asks the
// same again while it does. Answers serve everybody who asks within the next second: pods of one backend fail together.
//
// Three answers, never two: only NotReady keeps a pod, and "could not look" is Unclear. Do not use it to find broken
// mounts: a backend that answers may serve a dead one.
package backend
