package stuck

import (
	"slices"
	"strings"

	"github.com/mountwarden/mountwarden/probes/view"
)

// server is what a thread of the kernel's function waits for.
type server struct {
	name     string // for people
	prefixes []string
	serves   func(fsType string) bool
}

// servers lists who may not answer, by how the kernel's functions are called that wait for them.
func servers() []server {
	return []server{
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

// waitsFor returns the server that the function waits for. ok is false for all others, such as those that wait for a lock which
// somebody else holds meanwhile.
func waitsFor(wchan string) (s server, ok bool) {
	for _, s := range servers() {
		if slices.ContainsFunc(s.prefixes, func(p string) bool { return strings.HasPrefix(wchan, p) }) {
			return s, true
		}
	}
	return server{}, false
}

// waitsForPages reports whether the function waits for pages of a file, such as for those that were written to reach their disk or server. It
// belongs to no file system. A process that has written to a server which is away ends there when it is killed, and only the server can
// end that (measured with NFS on Linux 5.10 to 7.3).
func waitsForPages(wchan string) bool {
	return strings.HasPrefix(wchan, "folio_wait_") || strings.HasPrefix(wchan, "wait_on_page_")
}
