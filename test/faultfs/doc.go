// Package faultfs is a FUSE file system whose faults are switched while it runs.
//
// It mounts a directory that holds one canary file and accepts ordinary writes,
// and lets a test make any operation of it hang, fail or slow down, stop or kill
// its server, or abort its connection. Each is a real fault of a real mount: what
// a test sees is what an application on a broken FUSE volume sees.
//
// # Facts leaned on
//
//   - A FUSE mount is as alive as the open file description of /dev/fuse behind it
//     (fuse(4)): when its last holder dies the kernel aborts the connection and
//     every access answers ENOTCONN. Therefore the file system is served by a
//     process of its own, which Start begins and Server.Close surely ends.
//   - A request that the server has not read ends when its caller is killed; one
//     that was read leaves a killed caller in state D until it is answered or the
//     connection is aborted. Server.Stop gives the first, Server.Hang the second.
//   - The connection's number under fusectl (/sys/fs/fuse/connections/N) is the
//     minor device number of the mount, which mountinfo tells (Documentation/
//     filesystems/fuse/fuse.rst), so that no one has to touch a suspect mount.
//   - A process that listens on a Unix socket is named by the credentials of that
//     socket (SO_PEERCRED, unix(7)) even while it is stopped, and a refused
//     connection means it is gone. Faults are sent over such a socket.
//
// # From a test
//
// The server process is the test binary itself, run again:
//
//	func TestMain(m *testing.M) {
//		faultfs.MainIfChild()
//		os.Exit(m.Run())
//	}
//
// The test must never touch the mount in its own process, where it would hang the
// thread it runs on: a child process does that.
//
// # When not to use it
//
// It keeps all data in memory, checks no permissions and knows no hard links: it
// is good for faults and nothing else. It needs root, Linux 5.3 and /dev/fuse.
package faultfs
