// Package webdav serves a directory by WebDAV from a process of its own, which a test kills to take
// the server away: the kernel then refuses connections, as it does for a server that has crashed.
//
// The process is the test binary itself, run again:
//
//	func TestMain(m *testing.M) {
//		webdav.MainIfChild()
//		os.Exit(m.Run())
//	}
//
// It has neither passwords nor TLS and keeps locks in memory: do not use it outside of tests.
package webdav
