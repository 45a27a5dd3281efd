package stuck

import (
	"path"
	"strings"
)

// podOfPath returns in which pod's directory of the kubelet a mount point lies: the UID of
// "…/pods/UID/volumes/…" and "…/pods/UID/volume-subpaths/…"; "" when in none. Where a kubelet runs
// inside a pod, the last one counts.
func podOfPath(point string) (uid string) {
	const pods = "/pods/"
	for rest := point; ; {
		i := strings.Index(rest, pods)
		if i < 0 {
			return uid
		}
		rest = rest[i+len(pods)-1:]
		name, below, _ := strings.Cut(rest[1:], "/")
		if strings.HasPrefix(below, "volume") {
			uid = name
		}
	}
}

// isStagingPath reports whether a mount point is where a driver stages a volume for the pods of
// the node, "…/plugins/kubernetes.io/…".
func isStagingPath(point string) bool { return strings.Contains(point, "/plugins/kubernetes.io/") }

// volumeOfPath returns the volume that is mounted at a point in a pod's directory: NAME of
// "…/volumes/PLUGIN/NAME/mount".
func volumeOfPath(point string) string {
	_, rest, _ := strings.Cut(point, "/volumes/")
	parts := strings.Split(rest, "/")
	if len(parts) < 2 {
		return path.Base(point)
	}
	return parts[1]
}
