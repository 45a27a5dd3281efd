package mountinfo_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// heapInUse returns how many bytes of memory are in use.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what the first one has found free is free now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A table takes no more memory than it says, whatever its lines are like, and says no more than a
// few times that.
func TestBytes(t *testing.T) {
	line := func(i int, point string) string {
		return fmt.Sprintf("%d 1 0:%d / %s rw - tmpfs none rw\n", i+1, i, point)
	}
	for _, row := range []struct {
		name  string
		lines int
		line  func(i int) string
	}{
		{"of a container", 59, func(i int) string { return line(i, fmt.Sprintf("/proc/%058d", i)) }},
		{"without an index", 99, func(i int) string { return line(i, fmt.Sprint("/", i)) }},
		{"with the smallest index", 100, func(i int) string { return line(i, fmt.Sprint("/", i)) }},
		{"just beyond a power of two", 1025, func(i int) string { return line(i, fmt.Sprint("/", i)) }},
		{"short lines", mountinfo.MaxLines, func(i int) string { return line(i, "/") }},
		{"many mount points", mountinfo.MaxLines, func(i int) string { return line(i, fmt.Sprint("/", i)) }},
		{"many roots", mountinfo.MaxLines, func(i int) string { return fmt.Sprintf("%d %d 0:1 / /%d rw - x s rw\n", i, i+50_000, i) }},
		{"long lines", 2000, func(i int) string { return line(i, fmt.Sprint("/", i, strings.Repeat("x", 4000))) }},
		{"escapes", 2000, func(i int) string { return line(i, fmt.Sprint("/", i, strings.Repeat(`\040`, 1000))) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			var text strings.Builder
			for i := range row.lines {
				text.WriteString(row.line(i))
			}
			lines, grown := text.String(), 0
			before := heapInUse()
			table, err := mountinfo.Read(strings.NewReader(lines), func(bytes int) error {
				grown += bytes
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			used := heapInUse() - before
			runtime.KeepAlive(lines)
			if grown != table.Bytes() {
				t.Errorf("it was asked for %d bytes, and is said to take %d", grown, table.Bytes())
			}
			t.Logf("%d lines, %d bytes of text: %d in use, %d said", row.lines, len(lines), used, grown)
			if used > int64(grown)+4096 || int64(grown) > 4*used {
				t.Errorf("it takes %d bytes, and says %d", used, grown)
			}
			runtime.KeepAlive(table)
		})
	}
}

// A table that may not grow is refused at the point where it would.
func TestGrow(t *testing.T) {
	full := errors.New("full")
	text := bigTable(5000)
	whole := readTable(t, text).Bytes()
	for _, room := range []int{0, 1, whole / 2, whole - 1} {
		left := room
		grow := func(bytes int) error {
			if bytes > left {
				return full
			}
			left -= bytes
			return nil
		}
		if table, err := mountinfo.Read(strings.NewReader(text), grow); !errors.Is(err, full) || table != nil {
			t.Errorf("%d bytes are enough for a table of %d: %v", room, whole, err)
		}
	}
	left := whole
	if _, err := mountinfo.Read(strings.NewReader(text), func(bytes int) error { left -= bytes; return nil }); err != nil || left != 0 {
		t.Errorf("%v, %d bytes left", err, left)
	}
}

// A table that has not changed is asked for as much as one that was parsed.
func TestGrowOfAnUnchangedTable(t *testing.T) {
	var r mountinfo.Reader
	var asked []int
	text := bigTable(50)
	for range 2 {
		sum := 0
		if _, err := r.Read(strings.NewReader(text), func(bytes int) error { sum += bytes; return nil }); err != nil {
			t.Fatal(err)
		}
		asked = append(asked, sum)
	}
	if asked[0] == 0 || asked[0] != asked[1] {
		t.Errorf("%v", asked)
	}
	if _, err := r.Read(strings.NewReader(text), func(int) error { return os.ErrClosed }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it may not be held, and is: %v", err)
	}
}

// However little of the text comes at a time, and wherever it is cut.
func TestChunks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for i := range 600 {
		fmt.Fprintf(&text, "%d 1 0:1 / /%s rw - x s rw\n", i, strings.Repeat("p", random.IntN(1000)*random.IntN(2)+random.IntN(20)))
	}
	for _, end := range []string{"", "700 1 0:1 / /no-newline rw - x s rw"} {
		lines := text.String() + end
		want := strings.Split(strings.TrimSuffix(lines, "\n"), "\n")
		for name, from := range map[string]io.Reader{
			"whole": strings.NewReader(lines), "bytes": iotest.OneByteReader(strings.NewReader(lines)), "halves": iotest.HalfReader(strings.NewReader(lines)),
			"end with the data": iotest.DataErrReader(strings.NewReader(lines)),
		} {
			var got []string
			malformed, err := mountinfo.Each(from, func(m mountinfo.Mount) {
				got = append(got, fmt.Sprintf("%d 1 0:1 / %s rw - x s rw", m.ID, m.MountPoint))
			})
			if err != nil || malformed != 0 || !slices.Equal(got, want) {
				t.Errorf("%s: %d mounts of %d, %d malformed, %v", name, len(got), len(want), malformed, err)
			}
		}
	}
}

// Each holds no more than a part of a table, however large that is.
func TestEachHoldsLittle(t *testing.T) {
	text := bigTable(mountinfo.MaxLines)
	before, most := heapInUse(), int64(0)
	n := 0
	if _, err := mountinfo.Each(strings.NewReader(text), func(mountinfo.Mount) {
		n++
		if n%5000 == 0 {
			most = max(most, heapInUse()-before)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n != mountinfo.MaxLines || most > 1<<20 {
		t.Errorf("%d mounts of a text of %d bytes: %d bytes in use", n, len(text), most)
	}
	runtime.KeepAlive(text)
}

func TestEachFails(t *testing.T) {
	none := func(mountinfo.Mount) {}
	if n, err := mountinfo.Each(strings.NewReader("x\n1 2 3:4 / /a rw - x s rw\n\n"), none); n != 2 || err != nil {
		t.Errorf("%d malformed, %v", n, err)
	}
	if _, err := mountinfo.Each(iotest.ErrReader(os.ErrClosed), none); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, err := mountinfo.Each(strings.NewReader(strings.Repeat("\n", mountinfo.MaxLines+1)), none); !errors.Is(err, mountinfo.ErrTooLarge) {
		t.Error(err)
	}
}
