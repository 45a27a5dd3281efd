// Package worker is the pool of the processes that touch file systems: it hands them tasks and
// answers each within a deadline, whatever state the file systems are in.
//
// The fact it leans on: a system call on a dead file system may never return, and a thread inside
// it may not even be killable, so no such call is made by this process. A worker (package check)
// that does not answer is parked, not killed: SIGKILL would turn a request that the FUSE server has
// already read into an unkillable wait, while its late return tells that the mount has recovered.
// Only one probe of a super block is under way at a time.
//
// A call of Pool.Look becomes jobs, one for each task, in batches of one target process. The
// dispatcher takes the lock of each job's device, waits for a slot and a worker, and follows the
// progress that the worker writes into shared memory (check.ProgressPage). See job for the states
// of a job.
//
// Do not use it to find mounts or to judge answers: it is told which mount to probe, and passes on
// what the kernel said.
package worker
