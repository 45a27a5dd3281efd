// Package node looks at the mounts of one pod and answers with one observation for each of them
// within a deadline, whatever state the file systems are in.
//
// The fact it leans on: a system call on a dead file system may never return, and a thread inside it
// may not even be killable, so no such call is made by this process. It reads text under /proc and /sys, and
// everything inside a volume is done by the processes of package worker. What the text proves, alone and of
// two views, is package view's to say.
//
// A look reads the tables of the pod's containers and of the host, has all mounts looked at together, and concludes; it starts
// over for those that changed meanwhile, reads again before it calls one missing, and has the host's mount of a volume looked
// at where that changes what the container's means. Of each container it remembers what it has learnt, until nobody asks
// any more. No descriptor of a container's mounts is held between two calls; that of the host's table is.
//
// Do not use it to decide anything: an Observation is evidence, and a single one is never a verdict.
package node
