// Package node looks at the mounts of one pod and answers with one observation for each of them
// within a deadline, whatever state the file systems are in.
//
// The fact it leans on: a system call on a dead file system may never return, and a thread inside it
// may not even be killable, so no such call is made by this process. It reads text under /proc and
// opens /proc/PID itself with O_PATH; everything inside a volume is done by small worker processes
// (package check). A worker that does not answer is parked, not killed: SIGKILL would turn a request
// that the FUSE server has already read into an unkillable wait, while its late return tells that the
// mount has recovered. Only one look at a super block is under way at a time.
//
// Do not use it to decide anything: an Observation is evidence, and a single one is never a verdict.
package node
