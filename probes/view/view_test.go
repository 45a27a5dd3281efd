package view_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
	"github.com/mountwarden/mountwarden/probes/view"
)

const (
	uid   = "0a1b"
	pod   = "/var/lib/kubelet/pods/" + uid
	csi   = "kubernetes.io~csi/pv/mount"
	token = "0:90 / " + pod + "/volumes/kubernetes.io~projected/kube-api-access tmpfs"
	disk  = "8:1 / / ext4"
)

// newTable returns a table of lines "major:minor root mountpoint fstype [superoptions
// [propagation]]". Each lies on the mount before it that covers its mount point.
func newTable(t testing.TB, lines ...string) *mountinfo.Table {
	t.Helper()
	var text strings.Builder
	points := []string{}
	for i, line := range lines {
		f := strings.Fields(line)
		for len(f) < 6 {
			f = append(f, []string{"rw", ""}[len(f)-4])
		}
		parent := -1
		for j, point := range points {
			if point == "/" || f[2] == point || strings.HasPrefix(f[2], point+"/") {
				if parent < 0 || len(point) >= len(points[parent]) {
					parent = j
				}
			}
		}
		points = append(points, f[2])
		optional := ""
		if f[5] != "" {
			optional = f[5] + " "
		}
		fmt.Fprintf(&text, "%d %d %s %s %s rw %s- %s source %s\n", 10+i, 10+parent, f[0], f[1], f[2], optional, f[3], f[4])
	}
	parsed, err := mountinfo.Read(strings.NewReader(text.String()), nil)
	if err != nil || parsed.Malformed > 0 {
		t.Fatalf("%v %+v", err, parsed)
	}
	return parsed
}

// mountAt returns what a container has at the path, if its table has these lines after its root.
func mountAt(t testing.TB, path string, lines ...string) view.ContainerMount {
	t.Helper()
	inside := newTable(t, append([]string{"0:50 / / overlay"}, lines...)...)
	m, ok := inside.At(path)
	return view.ContainerMount{Table: inside, Mount: m, Found: ok}
}
