package stuck

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

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

// A tenant makes the mount tables of its processes as large as it likes: what is found in them is
// kept, not they.
func TestTablesAreNotKept(t *testing.T) {
	const processes, size = 30, 2 << 20
	n := newPodOnlyNode(t)
	var lines []string
	for i, length := 0, 0; length < size; i++ {
		lines = append(lines, mountLine(fmt.Sprint("0:", 100+i), fmt.Sprint("/", i, strings.Repeat("p", 200)), "fuse"))
		length += len(lines[i])
	}
	for i := range processes {
		n.addContainer(200+i, podA, 'D', "request_wait_answer", lines...)
	}
	e := New(n.root)
	before := heapInUse()
	report := e.Examine(t.Context(), podA)
	if used := heapInUse() - before; used > size/2 {
		t.Errorf("a report takes %d KiB", used>>10)
	}
	if got := report.Processes[1].Mounts; len(report.Processes) != maxProcesses || len(got) != maxFound || got[0].Device.String() != "0:100" {
		t.Errorf("%d processes, the second with %d mounts", len(report.Processes), len(got))
	}
	before = heapInUse()
	spaces, err := e.listNamespaces(t.Context(), podA, mountinfo.Device{Minor: 57})
	if used := heapInUse() - before; err != nil || len(spaces) < processes || used > size/4 {
		t.Errorf("%d namespaces take %d KiB: %v", len(spaces), used>>10, err)
	}
	runtime.KeepAlive(report)
	runtime.KeepAlive(spaces)
}
