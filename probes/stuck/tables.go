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

// What is remembered of one table. A tenant makes as many mounts as he likes, and names them as he
// likes.
const (
	maxFound = 256
	maxText  = 1 << 10
)

// findMounts returns what tells of the mounts of a process that are wanted, the first 256, and how
// many lines are not understood. It is proc.ErrGone when the process has exited. The table is not
// held as a whole, and nothing of it is kept.
func (e *Examiner) findMounts(pid int, wanted func(*mountinfo.Mount) bool) (found []mountinfo.Mount, malformed int, err error) {
	p, err := proc.Peek(e.root, pid)
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer p.Release()
	f, err := p.OpenMounts(e.root)
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	defer proc.CloseMounts(f)
	malformed, err = mountinfo.Each(f, func(m mountinfo.Mount) {
		if len(found) < maxFound && wanted(&m) {
			found = append(found, mountinfo.Mount{Device: m.Device, MountPoint: cutText(m.MountPoint), FSType: cutText(m.FSType)})
		}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("mounts of process %d: %w", pid, err)
	}
	return found, malformed, nil
}

// cutText returns a copy of the first bytes of a text.
func cutText(text string) string { return strings.Clone(text[:min(len(text), maxText)]) }

// hostMounts returns those of the host that are wanted. A line that is not understood hides a
// mount, so that such a table proves nothing.
func (e *Examiner) hostMounts(wanted func(*mountinfo.Mount) bool) ([]mountinfo.Mount, error) {
	found, malformed, err := e.findMounts(hostPID, wanted)
	if err != nil {
		return nil, fmt.Errorf("read the host's mounts: %w", err)
	}
	if malformed > 0 {
		return nil, fmt.Errorf("read the host's mounts: %d lines are not understood", malformed)
	}
	return found, nil
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
