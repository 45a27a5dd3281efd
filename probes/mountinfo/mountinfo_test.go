package mountinfo_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// tableOf makes lines of "id parent mountpoint".
func tableOf(t testing.TB, lines ...string) *mountinfo.Table {
	t.Helper()
	var text strings.Builder
	for _, line := range lines {
		f := strings.Fields(line)
		fmt.Fprintf(&text, "%s %s 0:%s / %s rw - x s rw\n", f[0], f[1], f[0], f[2])
	}
	return readTable(t, text.String())
}

func TestAt(t *testing.T) {
	for _, row := range []struct {
		name  string
		lines []string
		path  string
		at    int // id of the mount at the path, 0 for none
		on    int // id of the mount that covers it, 0 for none
	}{
		{"the root", []string{"10 1 /"}, "/", 10, 10},
		{"a mount", []string{"10 1 /", "11 10 /a"}, "/a", 11, 11},
		{"below a mount", []string{"10 1 /", "11 10 /a"}, "/a/b", 0, 11},
		{"beside a mount", []string{"10 1 /", "11 10 /a"}, "/ab", 0, 10},
		{"above a mount", []string{"10 1 /", "11 10 /a/b"}, "/a", 0, 10},
		{"nested", []string{"10 1 /", "11 10 /a", "12 11 /a/b/c"}, "/a/b/c", 12, 12},
		{"stacked at the mount point", []string{"10 1 /", "11 10 /a", "12 11 /a"}, "/a", 12, 12},
		{"stacked, the upper one listed first", []string{"10 1 /", "12 11 /a", "11 10 /a"}, "/a", 12, 12},
		{"twice on one parent", []string{"10 1 /", "11 10 /a", "12 10 /a"}, "/a", 12, 12},
		{"covered from above", []string{"10 1 /", "11 10 /a/b", "12 10 /a"}, "/a/b", 0, 12},
		{"uncovered again inside", []string{"10 1 /", "11 10 /a/b", "12 10 /a", "13 12 /a/b"}, "/a/b", 13, 13},
		{"stacked root", []string{"10 1 /", "11 10 /", "12 11 /a"}, "/a", 12, 12},
		{"below a covered root", []string{"10 1 /", "12 10 /a", "11 10 /"}, "/a", 0, 11},
		{"a root that is its own parent", []string{"1 1 /", "2 1 /a"}, "/a", 2, 2},
		{"the process's root is no mount point", []string{"11 10 /a", "12 11 /a/b"}, "/a/b", 12, 12},
		{"the process's root is no mount point: beside", []string{"11 10 /a"}, "/c", 0, 0},
		{"a ring of ids", []string{"10 1 /", "11 12 /a", "12 11 /a"}, "/a", 0, 10},
		{"empty", nil, "/a", 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			table := tableOf(t, row.lines...)
			at, okAt := table.At(row.path)
			if okAt != (row.at != 0) || okAt && at.ID != row.at {
				t.Errorf("at %s: %d %t, want %d", row.path, at.ID, okAt, row.at)
			}
			on, okOn := table.Covering(row.path)
			if okOn != (row.on != 0) || on.ID != row.on {
				t.Errorf("covering %s: %d %t, want %d", row.path, on.ID, okOn, row.on)
			}
		})
	}
}

// A cycle that hangs on the root must not be climbed indefinitely.
func TestCycleOfMounts(t *testing.T) {
	table := tableOf(t, "10 1 /", "11 10 /a", "12 11 /a", "11 12 /a")
	if m, ok := table.At("/a"); !ok || m.MountPoint != "/a" {
		t.Errorf("%+v %t", m, ok)
	}
}

func TestByID(t *testing.T) {
	table := tableOf(t, "10 1 /", "11 10 /a")
	if m, ok := table.ByID(11); !ok || m.MountPoint != "/a" {
		t.Errorf("11: %+v %t", m, ok)
	}
	if m, ok := table.ByID(1); ok {
		t.Errorf("1 is not listed: %+v", m)
	}
}

func TestDeviceString(t *testing.T) {
	if got := (mountinfo.Device{Major: 0, Minor: 1048575}).String(); got != "0:1048575" {
		t.Error(got)
	}
}
