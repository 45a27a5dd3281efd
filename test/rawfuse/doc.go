// Package rawfuse serves FUSE mounts that say what a test likes, or nothing at all.
//
// It leans on the protocol of fuse(4): a request is a header of 40 bytes, an answer one of 16 bytes with the request's number,
// and the kernel waits until its number comes back or the last descriptor of the connection is closed. A goroutine serves a
// mount, so that hundreds in one process are cheap, and only what a look asks is answered.
//
// It has no files and no faults to switch; package faultfs has. The serving process must not touch its own mounts: it
// would wait for itself.
package rawfuse
