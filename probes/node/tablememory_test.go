package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

// Each probe has some memory of its own, whatever others hold.
func TestTableReservationOfItsOwn(t *testing.T) {
	all := newTableMemory(0)
	for i := range 100 {
		s := &tableReservation{memory: all, namespace: "a"}
		if err := s.growBy(ownTableBytes); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
		if err := s.growBy(1); !errors.Is(err, mountinfo.ErrTooLarge) {
			t.Fatalf("look %d may have one byte more: %v", i, err)
		}
	}
}

// A namespace gets half of what the others leave, whichever of its probes asks, and gets it back
// when they end.
func TestTablesAreShared(t *testing.T) {
	all := newTableMemory(1 << 20)
	full := func(namespace string) (*tableReservation, int) {
		s := &tableReservation{memory: all, namespace: namespace, bytes: ownTableBytes}
		got := 0
		for s.growBy(1<<10) == nil {
			got++
		}
		return s, got
	}
	a, got := full("a")
	if got != 512 {
		t.Errorf("the first namespace gets %d KiB of 1024", got)
	}
	if _, got := full("a"); got != 0 {
		t.Errorf("another pod of it gets %d KiB more", got)
	}
	b, got := full("b")
	if got != 256 {
		t.Errorf("the second gets %d KiB of 512", got)
	}
	for _, name := range []string{"c", "d", "e"} {
		if _, got := full(name); got == 0 {
			t.Errorf("nothing is left for %s", name)
		}
	}
	a.shrinkBy(512 << 10)
	b.shrinkBy(100 << 10)
	if err := b.growBy(100 << 10); err != nil {
		t.Errorf("what it gave back: %v", err)
	}
	if a.bytes != ownTableBytes || a.sharedBytes != 0 || all.ofNamespace["a"] != 0 {
		t.Errorf("%+v of %+v", a, all)
	}
}

// What exceeds a probe's own memory is counted to the byte, in whatever order tables grow and are
// dropped.
func TestTableReservationGivesAllBack(t *testing.T) {
	all := newTableMemory(1 << 30)
	a, b := &tableReservation{memory: all, namespace: "a"}, &tableReservation{memory: all, namespace: "a"}
	for i := range 1000 {
		for _, s := range []*tableReservation{a, b} {
			if err := s.growBy(i * 100); err != nil {
				t.Fatal(err)
			}
			if i%3 == 2 {
				s.shrinkBy((i-1)*100 + (i-2)*100)
			}
			if want := max(s.bytes-ownTableBytes, 0); s.sharedBytes != want {
				t.Fatalf("%d bytes of %d are taken", s.sharedBytes, want)
			}
		}
		if all.used != a.sharedBytes+b.sharedBytes {
			t.Fatalf("%d bytes are used, by probes that have %d", all.used, a.sharedBytes+b.sharedBytes)
		}
	}
	a.shrinkBy(a.bytes)
	b.shrinkBy(b.bytes)
	if all.used != 0 || len(all.ofNamespace) != 0 {
		t.Errorf("%+v", all)
	}
}

// makeTableOfSize has a mount that hangs, and enough others to be at least size bytes long.
func makeTableOfSize(size int) string {
	var text strings.Builder
	text.WriteString(makeTable("0:1", "0:50 /hang fuse.x"))
	padding := strings.Repeat("p", 400)
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, "%d 10 0:9 / /%s%d rw - tmpfs none rw\n", 1000+i, padding, i)
	}
	return text.String()
}

// addTenant makes a pod of containers that all have the table.
func (n *fakeNode) addTenant(number, containers int, table string) probes.Pod {
	n.t.Helper()
	pod := probes.Pod{UID: fmt.Sprint("tenant-", number), Namespace: fmt.Sprint("tenant-", number%2), Name: "pod"}
	for i := range containers {
		pid := 1000 + number*containers + i
		id := fmt.Sprintf("%064x", pid)
		dir := filepath.Join(n.root, strconv.Itoa(pid))
		must(n.t, os.MkdirAll(dir, 0o755))
		must(n.t, os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tapp\nState:\tS (sleeping)\n"), 0o600))
		must(n.t, os.WriteFile(filepath.Join(dir, "cgroup"), []byte("0::/kubepods/"+id+"\n"), 0o600))
		must(n.t, os.Symlink(table, filepath.Join(dir, "mountinfo")))
		mounts := []probes.Mount{{Volume: "v", Path: "/hang"}}
		pod.Containers = append(pod.Containers, probes.Container{Name: fmt.Sprint("c", i), ID: id, Mounts: mounts})
	}
	return pod
}

// Tenants make the tables of their containers large, and let their mounts hang, so that probes
// last. The memory of this process stays small, and an ordinary pod is probed as usual.
func TestHostileTables(t *testing.T) {
	for _, row := range []struct {
		name string
		size int
		held bool // some of them, not all
	}{
		{name: "nearly as large as is read at all", size: 7_900_000},
		{name: "one of them is not too much", size: 1_000_000, held: true},
	} {
		t.Run(row.name, func(t *testing.T) { testHostileTables(t, row.size, row.held) })
	}
}

func testHostileTables(t *testing.T, size int, held bool) {
	const pods, containers = 16, 3
	n := newFakeNode(t, Options{}, "0:2 /a")
	table := filepath.Join(t.TempDir(), "table")
	must(t, os.WriteFile(table, []byte(makeTableOfSize(size)), 0o600))
	var tenants []probes.Pod
	for i := range pods {
		tenants = append(tenants, n.addTenant(i, containers, table))
	}
	ended := make(chan []probes.Observation)
	before := liveBytes()
	for _, pod := range tenants {
		go func() { ended <- n.Probe(t.Context(), pod, 2*time.Second) }()
	}
	most, refused := uint64(0), 0
	for left := pods; left > 0; {
		select {
		case seen := <-ended:
			left--
			refused += countTooLarge(t, seen)
		default:
			most = max(most, liveBytes())
			expectObservation(t, n.probePaths(patience, "/a")[0], probes.Healthy, "", "")
		}
	}
	t.Logf("at most %d KiB in use, %d before; %d containers of %d refused", most>>10, before>>10, refused, pods*containers)
	// What is not collected yet is in use as well.
	if most-before > 4*(sharedTableBytes+pods*ownTableBytes) {
		t.Errorf("tables of %d KiB made the memory in use grow from %d KiB to %d KiB", size>>10, before>>10, most>>10)
	}
	if refused == 0 || held == (refused == pods*containers) {
		t.Error("the test shows nothing")
	}
	if n.tableMemory.used != 0 || len(n.tableMemory.ofNamespace) != 0 {
		t.Errorf("not given back: %+v", n.tableMemory)
	}
}

// liveBytes returns how much memory is in use.
func liveBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func countTooLarge(t *testing.T, seen []probes.Observation) (n int) {
	t.Helper()
	for _, o := range seen {
		if o.Health == probes.Unknown && strings.Contains(o.Detail, mountinfo.ErrTooLarge.Error()) {
			n++
		} else if o.Cause != probes.CauseHung {
			t.Errorf("%+v", o)
		}
	}
	return n
}

// Tables that are kept from one probe to the next are bounded too, and those of containers that are
// gone are dropped.
func TestKeptTablesAreBounded(t *testing.T) {
	m := newStateCache()
	const each = 40 << 10
	kept := 0
	for i := range 1000 {
		if c := m.findState(fmt.Sprint(i)); m.reserveTable(c, each) {
			kept++
		}
	}
	if kept != maxKeptTotal/each || m.keptBytes > maxKeptTotal {
		t.Errorf("%d tables are kept, %d bytes", kept, m.keptBytes)
	}
	if first := m.findState("0"); m.reserveTable(first, maxKeptPerContainer+1) || first.keptBytes != 0 || m.keptBytes != (kept-1)*each {
		t.Errorf("a large one is kept: %d bytes of %d", first.keptBytes, m.keptBytes)
	}
	if last := m.findState("999"); !m.reserveTable(last, each) {
		t.Error("what was let go is not free")
	}
	gone := m.findState("1")
	m.lastSweep = time.Time{}
	m.dropIdle(time.Now().Add(2 * dropStateAfter))
	if m.keptBytes != 0 || len(m.byID) != 0 {
		t.Errorf("%d bytes are kept of %d containers", m.keptBytes, len(m.byID))
	}
	if m.reserveTable(gone, each) || m.keptBytes != 0 {
		t.Error("nobody would let go of it")
	}
}

// An observation outlives its probe by hours, and keeps no part of a mount table.
func TestObservationsKeepNoTable(t *testing.T) {
	n := newFakeNode(t, Options{})
	const count = 40
	var kept [][]probes.Observation
	before := liveBytes()
	for i := range count {
		// A table for each, of which a part of 64 KiB would be kept by one name.
		lines := []string{fmt.Sprintf("0:2 /a fuse.x%d", i), fmt.Sprintf("0:3 /a/net/below%d fuse.y%d", i, i)}
		for j := range 250 {
			lines = append(lines, fmt.Sprintf("0:9 /%s%d-%d", strings.Repeat("p", 220), i, j))
		}
		n.writeTable(lines...)
		n.states = newStateCache()
		kept = append(kept, n.Probe(context.Background(), n.newPod("/a"), patience))
	}
	n.states = newStateCache()
	debug.FreeOSMemory()
	if used := int64(liveBytes()) - int64(before); used > count*8<<10 {
		t.Errorf("%d bytes are in use for the observations of %d probes", used, count)
	}
	for i, seen := range kept {
		if len(seen) != 2 || seen[1].Target.Path != fmt.Sprint("/a/net/below", i) {
			t.Fatalf("%+v", seen)
		}
		if want := fmt.Sprint("fuse.x", i); seen[0].FSType != want {
			t.Errorf("%+v, want %s", seen[0], want)
		}
	}
}
