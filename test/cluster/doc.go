// Command cluster runs a real one-node Kubernetes on this machine, with no Docker and no registry,
// for tests and demonstrations.
//
// It compiles pinned sources, starts them in namespaces of their own with itself as pid 1, and takes
// everything away again: a process tree under one pid namespace cannot outlive its first process
// (pid_namespaces(7)). It is for one machine and one user; nothing in it is safe for production.
package main
