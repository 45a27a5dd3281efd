// Package mountns gives a test binary a mount namespace of its own, so that whatever
// it mounts is invisible to the machine and vanishes with it, even when it is killed.
//
// It leans on unshare(CLONE_NEWNS) being a property of one thread and execve(2)
// ending all other threads: a Go program can move as a whole only by executing itself.
//
//	func TestMain(m *testing.M) {
//		faultfs.MainIfChild()
//		if err := mountns.Enter(); err != nil { … }
//		os.Exit(m.Run())
//	}
//
// Do not use it where mounts must propagate to other processes, such as a kubelet.
package mountns
