// Package lab tests the prober on real FUSE mounts that are broken in real ways. It holds tests only.
//
// A "container" is a process in a mount namespace of its own, with a root file system and a cgroup
// named like a container's; a volume is a faultfs bound into it. The tests need root and skip with the reason
// without. They leave no mount, process or cgroup behind: all mounts are inside a private mount namespace.
//
//	go test -race ./lab/...
package lab
