// Package backend answers whether a new mount of a volume would succeed now: whether its CSI driver
// or NFS server answers, or the host's mount that it is bound from is healthy.
//
// A driver, a server and the kubelet's directories may hang as mounts do, and the libraries to talk
// to them are several times as large as a worker. So each question goes to a process of its own
// (package answer), which is killed when it is late. A process that is stuck in the kernel is not
// waited for. It keeps its slot among the few that there may be, and nobody asks the same again
// meanwhile. An answer is reused for a second, because pods of one backend fail together.
//
// There are three answers, never two: only NotReady keeps a pod from being evicted, and what could
// not be checked is Unclear. Do not use it to find broken mounts: a backend that answers may serve
// a dead one.
package backend
