// Command bench measures what the agent costs and how fast it is: the real agent and its workers, on a real API server,
// watching containers that are processes with a mount namespace and a cgroup of their own, whose volumes are real FUSE
// mounts with daemons that are killed. Only the kubelet is played: bench writes the pods' status itself.
//
//	make bench
//
// All of it lives in a process id and a mount namespace of its own, whose first process is the "host" that the agent compares
// with, and ends with that process. It needs root, etcd and kube-apiserver.
//
// Figures of one run are comparable with each other; on a shared machine those of two runs are not. Trust ratios.
package main
