package stuck

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// hostPID is the process whose mounts are the host's.
const hostPID = 1

// table reads the mounts of a process. It is proc.ErrGone when that has exited.
func (e *Examiner) table(pid int) (*mountinfo.Table, error) {
	p, err := proc.Peek(e.root, pid)
	if err != nil {
		return nil, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer p.Release()
	f, err := p.OpenMounts(e.root)
	if err != nil {
		return nil, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer proc.CloseMounts(f)
	t, err := mountinfo.Read(f)
	if err != nil {
		return nil, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	return t, nil
}

// hostTable is the table of the host. A line that is not understood hides a mount, so that such a table proves nothing.
func (e *Examiner) hostTable() (*mountinfo.Table, error) {
	t, err := e.table(hostPID)
	if err != nil {
		return nil, fmt.Errorf("read the host's mounts: %w", err)
	}
	if t.Malformed > 0 {
		return nil, fmt.Errorf("read the host's mounts: %d lines are not understood", t.Malformed)
	}
	return t, nil
}

// ofPod returns which pod's folder of the kubelet a mount point lies in: the UID in "…/pods/UID/volumes/…" and
// "…/pods/UID/volume-subpaths/…". "" when in none. Where a kubelet runs inside a pod, the last one counts.
func ofPod(point string) (uid string) {
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

// isStaged reports whether a mount point is where a driver stages a volume for the pods of the node, "…/plugins/kubernetes.io/…".
func isStaged(point string) bool { return strings.Contains(point, "/plugins/kubernetes.io/") }

// volumeName returns the volume that is mounted at a point in a pod's folder: NAME of "…/volumes/PLUGIN/NAME/mount".
func volumeName(point string) string {
	_, rest, _ := strings.Cut(point, "/volumes/")
	parts := strings.Split(rest, "/")
	if len(parts) < 2 {
		return path.Base(point)
	}
	return parts[1]
}

// control is a file of fusectl of the host, for a connection.
func (e *Examiner) control(d mountinfo.Device, name string) string {
	return filepath.Join(e.root, strconv.Itoa(hostPID), "root/sys/fs/fuse/connections", strconv.FormatUint(uint64(d.Minor), 10), name)
}

// waiting returns how many requests have no answer. ok is false when that cannot be told.
func (e *Examiner) waiting(d mountinfo.Device) (n int, ok bool) {
	if d.Major != 0 {
		return 0, false // its number is made otherwise
	}
	text, err := os.ReadFile(e.control(d, "waiting"))
	if err != nil {
		return 0, false
	}
	n, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}
