package mountinfo_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// A table of many lines answers as one of few does.
func TestIndex(t *testing.T) {
	var padding []string
	for i := range 200 {
		padding = append(padding, fmt.Sprintf("%d 99999 /padding/%d", 10_000+i, i))
	}
	points := []string{"/", "/a", "/a/b", "/a/b/c", "/d"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var lines []string
		for id := range 1 + random.IntN(8) { // a parent is itself or older: in a cycle the number of lines decides
			lines = append(lines, fmt.Sprintf("%d %d %s", id, random.IntN(id+1), points[random.IntN(len(points))]))
		}
		random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		few, many := tableOf(t, lines...), tableOf(t, append(lines, padding...)...)
		for _, path := range points {
			want, okWant := few.Covering(path)
			if got, ok := many.Covering(path); got != want || ok != okWant {
				t.Fatalf("%v covering %s: %+v %t, want %+v %t", lines, path, got, ok, want, okWant)
			}
		}
		for id := range 8 {
			want, okWant := few.ByID(id)
			if got, ok := many.ByID(id); got != want || ok != okWant {
				t.Fatalf("%v id %d: %+v %t, want %+v %t", lines, id, got, ok, want, okWant)
			}
		}
	}
}

func TestReader(t *testing.T) {
	var r mountinfo.Reader
	read := func(text string) *mountinfo.Table {
		t.Helper()
		table, err := r.Read(strings.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	const a, b = "1 2 3:4 / /a rw - x s rw\n", "1 2 3:4 / /b rw - x s rw\n"
	first := read(a)
	if read(a) != first {
		t.Error("the same text was parsed again")
	}
	if second := read(b); second == first || second.Mounts[0].MountPoint != "/b" || first.Mounts[0].MountPoint != "/a" {
		t.Errorf("%+v, then %+v", first, second)
	}
	if _, err := r.Read(strings.NewReader(strings.Repeat(a, mountinfo.MaxLines+1)), nil); err == nil {
		t.Error("too large, no error")
	}
	if table := read(a); table.Mounts[0].MountPoint != "/a" {
		t.Errorf("%+v", table)
	}
	large := strings.Repeat(a, 15_000)
	if first := read(large); read(large) == first {
		t.Error("a large table was kept")
	}
}

func BenchmarkReaderUnchanged(b *testing.B) {
	text := bigTable(59)
	var r mountinfo.Reader
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(strings.NewReader(text), nil); err != nil {
			b.Fatal(err)
		}
	}
}
