// Package node probes the mounts of one pod and returns one observation for each of them within a
// deadline, whatever state the file systems are in.
//
// A system call on a dead file system may never return, and a thread inside it may not even be
// killable. So this process makes no such call. It reads /proc and /sys, and the processes of
// package worker do everything inside a volume. What the text of the mount tables proves, alone and
// of two namespaces together, is decided in package view.
//
// A probe reads the tables of the pod's containers and of the host, has all mounts probed at once,
// and judges the results. It starts over for mounts that changed meanwhile, reads the table again
// before it calls a mount missing, and probes the host's mount of a volume if that changes what the
// container's means. It remembers what it has found out about each container until the container is
// not probed any more. Between two probes it holds no descriptor of a container's mounts, but one
// of the host's table.
//
// It decides nothing about a pod: an Observation is evidence, and a single one is never a verdict.
package node
