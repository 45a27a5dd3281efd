// Package cgroup makes one control group of our own in every hierarchy of the machine and removes
// it again, with all that is below it and nothing else.
//
// It leans on cgroups(7): version 1 mounts one hierarchy a controller, version 2 one for all, and a
// hybrid machine has both; a group is a folder, its control files vanish with rmdir(2), and rmdir
// fails with EBUSY while a process or a child group is inside. On a pure version 2 machine a group has
// only the controllers that its parent passes on in cgroup.subtree_control, and the kubelet wants
// cpu, cpuset, memory and pids.
package cgroup
