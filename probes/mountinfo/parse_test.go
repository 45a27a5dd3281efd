package mountinfo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

func readTable(t testing.TB, text string) *mountinfo.Table {
	t.Helper()
	table, err := mountinfo.Read(strings.NewReader(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestReadLine(t *testing.T) {
	device := mountinfo.Device{Major: 98, Minor: 7}
	for _, row := range []struct {
		name, line string
		want       mountinfo.Mount
	}{
		{"the manual's example", "36 35 98:7 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue", mountinfo.Mount{
			ID: 36, Parent: 35, Device: device, Root: "/mnt1", MountPoint: "/mnt2", Options: "rw,noatime", Optional: "master:1",
			FSType: "ext3", Source: "/dev/root", SuperOptions: "rw,errors=continue",
		}},
		{"no optional field", "1 2 98:7 / /a rw - tmpfs none rw", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/", MountPoint: "/a", Options: "rw", FSType: "tmpfs", Source: "none", SuperOptions: "rw",
		}},
		{"several optional fields", "1 2 98:7 / /a rw shared:1 master:2 unbindable - tmpfs none rw", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/", MountPoint: "/a", Options: "rw", Optional: "shared:1 master:2 unbindable",
			FSType: "tmpfs", Source: "none", SuperOptions: "rw",
		}},
		{"empty source", "1 2 98:7 / /a rw - fuse.x  rw,user_id=0", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/", MountPoint: "/a", Options: "rw", FSType: "fuse.x", SuperOptions: "rw,user_id=0",
		}},
		{"escapes", `1 2 98:7 /r\134 /a\040b\011c\012d rw - fuse.x \043\040s rw,o=\040`, mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: `/r\`, MountPoint: "/a b\tc\nd", Options: "rw",
			FSType: "fuse.x", Source: "# s", SuperOptions: "rw,o= ",
		}},
		{"what only looks like an escape", `1 2 98:7 / /a\04 rw - x \999\777\0 rw`, mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/", MountPoint: `/a\04`, Options: "rw", FSType: "x", Source: `\999\777\0`, SuperOptions: "rw",
		}},
		{"a dash is no separator where a field is due", "1 2 98:7 - /a - - x s rw", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "-", MountPoint: "/a", Options: "-", FSType: "x", Source: "s", SuperOptions: "rw",
		}},
		{"dashes behind the separator", "1 2 98:7 / /a rw - x - - rw", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/", MountPoint: "/a", Options: "rw", FSType: "x", Source: "-", SuperOptions: "-",
		}},
		{"deleted root", "1 2 98:7 /r//deleted /a rw - x s rw", mountinfo.Mount{
			ID: 1, Parent: 2, Device: device, Root: "/r//deleted", MountPoint: "/a", Options: "rw", FSType: "x", Source: "s", SuperOptions: "rw",
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, end := range []string{"", "\n"} {
				table := readTable(t, row.line+end)
				if table.Malformed != 0 || len(table.Mounts) != 1 || table.Mounts[0] != row.want {
					t.Errorf("got %+v, want %+v", table, row.want)
				}
			}
		})
	}
}

func TestMalformedLinesAreCountedAndFailNoOther(t *testing.T) {
	good := "1 2 3:4 / /a rw - x s rw\n"
	for _, bad := range []string{
		"", "x", "1 2 3:4 / /a", "1 2 3:4 / /a rw", "1 2 3:4 / /a rw shared:1", "1 2 3:4 / /a rw - x", "1 2 3:4 / /a rw - x s",
		"x 2 3:4 / /a rw - x s rw", "1 x 3:4 / /a rw - x s rw", "1 2 3.4 / /a rw - x s rw", "1 2 x:4 / /a rw - x s rw",
		"1 2 3:x / /a rw - x s rw", "1 2 3:-4 / /a rw - x s rw", "1 2 3:4 / a rw - x s rw", "1 2 3:4  / /a - x s rw",
	} {
		table := readTable(t, good+bad+"\n"+good)
		if len(table.Mounts) != 2 || table.Malformed != 1 {
			t.Errorf("%q: %+v", bad, table)
		}
	}
}

func TestLongLine(t *testing.T) {
	options := "lowerdir=" + strings.Repeat("/a-folder", 7000)
	table := readTable(t, "1 2 3:4 / /a rw - overlay overlay "+options+"\n2 2 3:4 / /b rw - x s rw\n")
	if len(table.Mounts) != 2 || table.Mounts[0].SuperOptions != options {
		t.Errorf("a line of %d bytes was not read whole", len(options))
	}
}

func TestTooLarge(t *testing.T) {
	line := "1 2 3:4 / /a rw - x s rw\n"
	if _, err := mountinfo.Read(strings.NewReader(strings.Repeat(line, mountinfo.MaxLines)), nil); err != nil {
		t.Errorf("%d lines are allowed: %v", mountinfo.MaxLines, err)
	}
	for name, text := range map[string]string{
		"lines":           strings.Repeat(line, mountinfo.MaxLines+1),
		"bytes":           strings.Repeat(strings.Repeat("x", 1<<10-1)+"\n", mountinfo.MaxBytes>>10) + "x",
		"bytes of a line": strings.Repeat(strings.Repeat("x", 12<<10)+" ", 6),
	} {
		if _, err := mountinfo.Read(strings.NewReader(text), nil); !errors.Is(err, mountinfo.ErrTooLarge) {
			t.Errorf("too many %s: %v", name, err)
		}
	}
}

// A tenant moves a mounted directory below thousands of others: its line gets as long as he likes, and
// is in the host's table, too. It costs nobody else's mounts, and is parsed but for what was cut.
func TestLongLineIsShortened(t *testing.T) {
	const before, after = "1 2 3:4 / /a rw - x s rw\n", "9 2 3:5 / /b rw - x t rw\n"
	for _, depth := range []int{0, 100, 300, 5_000, 20_000} {
		root := strings.Repeat("/"+strings.Repeat("d", 255), depth)
		long := "7 2 3:9 /" + root + " /var/lib/kubelet/pods/1/volume-subpaths/data/app/0 rw - ext4 /dev/sda rw,errors=continue\n"
		for name, text := range map[string]string{"first": long + before + after, "between": before + long + after, "last": before + after + long} {
			for _, from := range []io.Reader{strings.NewReader(text), iotest.HalfReader(strings.NewReader(text))} {
				table, err := mountinfo.Read(from, nil)
				if err != nil || len(table.Mounts) != 3 || table.Malformed != 0 {
					t.Fatalf("%d deep, %s: %+v, %v", depth, name, table, err)
				}
				i := slices.IndexFunc(table.Mounts, func(m mountinfo.Mount) bool { return m.ID == 7 })
				m := table.Mounts[i]
				if !strings.HasPrefix("/"+root, m.Root) || len(m.Root) < min(len(root), 4096) || m.FSType != "ext4" || m.SuperOptions != "rw,errors=continue" ||
					!strings.HasPrefix(m.MountPoint, "/var/lib/kubelet/pods/1/") {
					t.Errorf("%d deep, %s: root of %d bytes, %s %s %s", depth, name, len(m.Root), m.MountPoint, m.FSType, m.SuperOptions)
				}
			}
		}
	}
}

// endless is a table of which a line comes each millisecond.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	<-time.After(time.Millisecond)
	return copy(b, "1 2 3:4 / /a rw - x s rw\n"), nil
}

func TestTooSlow(t *testing.T) {
	t.Parallel()
	if _, err := mountinfo.Read(endless{}, nil); !errors.Is(err, mountinfo.ErrTooLarge) {
		t.Errorf("a table without an end: %v", err)
	}
}

func TestReadError(t *testing.T) {
	if _, err := mountinfo.Read(iotest.ErrReader(os.ErrClosed), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the reader's error is lost: %v", err)
	}
}

func TestOwnTable(t *testing.T) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	table := readTable(t, string(text))
	if table.Malformed != 0 || len(table.Mounts) != bytes.Count(text, []byte("\n")) {
		t.Errorf("%d of the lines of this machine are malformed", table.Malformed)
	}
	if m, ok := table.At("/proc"); !ok || m.FSType != "proc" {
		t.Errorf("/proc: %+v %t", m, ok)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("36 35 98:7 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n", "/mnt2")
	f.Add("1 2 3:4 / / rw - x  rw\n2 1 3:4 / / rw - x \\043 rw\n\n", "/")
	f.Add("1 1 3:4 / /a\\040b rw - x s rw\n", "/a b/c")
	f.Fuzz(func(t *testing.T, text, path string) {
		table, err := mountinfo.Read(strings.NewReader(text), nil)
		if err != nil {
			if !errors.Is(err, mountinfo.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		lines := strings.Count(text, "\n")
		if text != "" && !strings.HasSuffix(text, "\n") {
			lines++
		}
		if got := len(table.Mounts) + table.Malformed; got != lines {
			t.Errorf("%d lines became %d", lines, got)
		}
		if !strings.HasPrefix(path, "/") {
			return
		}
		if m, ok := table.At(path); ok && m.MountPoint != path {
			t.Errorf("asked for %q, got %+v", path, m)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, lines := range []int{59, 509, 5000} {
		text := bigTable(lines)
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				table, err := mountinfo.Read(strings.NewReader(text), nil)
				if err != nil || len(table.Mounts) != lines {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	for _, lines := range []int{59, 509, 5000} {
		table := readTable(b, bigTable(lines))
		path := table.Mounts[lines/2].MountPoint
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			for b.Loop() {
				if _, ok := table.At(path); !ok {
					b.Fatal(path)
				}
			}
		})
	}
}

// bigTable looks like that of a node: many mounts below one root.
func bigTable(lines int) string {
	var text strings.Builder
	text.WriteString("1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n")
	for i := 1; i < lines; i++ {
		fmt.Fprintf(&text, "%d 1 0:%d / /var/lib/kubelet/pods/%036d/volumes/kubernetes.io~csi/pv-%d/mount "+
			"rw,relatime shared:%d - fuse.x source-%d rw,user_id=0,group_id=0,allow_other\n", i+1, i, i, i, i, i)
	}
	return text.String()
}
