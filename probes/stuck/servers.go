package stuck

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes/view"
)

// serverKind is what a thread waits for, by the kernel function that it is in.
type serverKind struct {
	name     string // for people
	prefixes []string
	serves   func(fsType string) bool
}

// serverKinds lists the servers that may not answer, by the prefixes of the kernel functions that
// wait for them.
func serverKinds() []serverKind {
	return []serverKind{
		{"fuse", []string{"request_wait_answer", "fuse_", "__fuse_"}, view.IsFUSE},
		{"nfs", []string{"rpc_wait", "__rpc_", "nfs_", "nfs4_", "nfs3_", "xprt_"}, oneOf("nfs", "nfs4")},
		{"cifs", []string{"cifs_", "smb2_", "wait_for_response"}, oneOf("cifs", "smb3")},
		{"ceph", []string{"ceph_", "__ceph_"}, oneOf("ceph")},
		{"9p", []string{"p9_", "v9fs_"}, oneOf("9p")},
	}
}

func oneOf(types ...string) func(string) bool {
	return func(fsType string) bool { return slices.Contains(types, fsType) }
}

// findServer returns the kind of server that a function waits for. ok is false for all other
// functions, such as those that wait for a lock which another thread holds meanwhile.
func findServer(wchan string) (s serverKind, ok bool) {
	for _, s := range serverKinds() {
		if slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(wchan, p) }) {
			return s, true
		}
	}
	return serverKind{}, false
}

// isPageWait reports whether the function waits for pages of a file, such as for those that were
// written to reach their disk or server. It belongs to no file system. A process that has written
// to a server which is away ends there when it is killed, and only the server can end that
// (measured with NFS on Linux 5.10 to 7.3).
func isPageWait(wchan string) bool {
	return strings.HasPrefix(wchan, "folio_wait_") || strings.HasPrefix(wchan, "wait_on_page_")
}
