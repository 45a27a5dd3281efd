// Package lab tests the prober on real mounts that are broken in real ways. It holds tests only.
//
// A "container" is a process in a mount namespace of its own, with a root file system and a cgroup
// named like a container's; a volume is a faultfs, a disk or a folder bound into it; the "node" is the test's own
// process. The tests need root and skip with the reason without. They leave no mount, process, loop device or cgroup
// behind: all mounts are inside a private mount namespace.
//
// To break mounts takes all rights of root, to look at them should not. So the prober of most tests is in a process of its own, the
// looker, that has the capabilities of the chart's default securityContext and no other; which ones those are is read from the chart.
// MOUNTWARDEN_LAB_LOOKER_COMMAND runs it elsewhere: the end-to-end tests run it in a container of a real node, below the runtime's
// filter of system calls. A few tests have a prober in their own process, with the rights of root, since they look into that process or
// ask for more than looks (newProber): at its threads, children and open files, at events, at backends. What the agent finds by
// those with the rights of the chart is tested end to end.
//
// What takes an NFS server, a disk that may be overwritten, or cgroups of version 2 alone, runs in the virtual machines of package kernelvm, as all of
// the lab does: there on kernels from 5.10 to 7.3. What a kernel does not show is said by a scenario's since, and by isLinux.
// MOUNTWARDEN_LAB_WORKER names workers that are built already, MOUNTWARDEN_LAB_SLOW says that the machine is an emulated one.
//
// A scenario (see scenarios) lets something happen to a healthy pod and says what must become of it: the looks of the
// prober go through controllers/verdict with the default rules, on a clock that leaps from one look to the next. What a
// single look must find stands in tests of its own. docs/failures.md is generated from the scenarios.
//
//	go test -race ./lab/...
//	MOUNTWARDEN_LAB_TABLE=/tmp/table.md go test -race -run TestFailures ./lab
//
//go:generate go test -run ^TestDocumentation$ . -update
package lab
