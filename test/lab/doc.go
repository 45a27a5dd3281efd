// Package lab tests the prober on real mounts that are broken in real ways. It holds tests only.
//
// A "container" is a process in a mount namespace of its own, with a root file system and a cgroup
// named like a container's; a volume is a faultfs, a disk or a folder bound into it; the "node" is the test's own
// process. The tests need root and skip with the reason without. They leave no mount, process, loop device or cgroup
// behind: all mounts are inside a private mount namespace.
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
