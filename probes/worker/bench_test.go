package worker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes/check"
	"github.com/mountwarden/mountwarden/probes/internal/sys"
	"github.com/mountwarden/mountwarden/probes/proc"
)

// BenchmarkLook measures what a probe costs in CPU time of the agent and its workers together,
// beside the same system calls made in this process, which is the floor. It probes /proc, where
// these calls cost least, so that the ratio is the worst.
//
//	go test -run '^$' -bench Look ./probes/worker
func BenchmarkLook(b *testing.B) {
	worker := realWorker(b)
	for _, items := range []int{1, 10, check.MaxItems} {
		b.Run(fmt.Sprintf("batch=%d", items), func(b *testing.B) { benchmarkLook(b, worker, items) })
	}
}

func benchmarkLook(b *testing.B, worker string, items int) {
	target, err := proc.Self("/proc")
	must(b, err)
	defer target.Release()
	p, err := New(Options{WorkerPath: worker})
	must(b, err)
	defer func() { must(b, p.Close(context.Background())) }()
	tasks := procTasks(b, p, target, items)
	rounds := max(1, b.N/items)

	began := ownCPU()
	for range rounds * items {
		floor(b, "/proc")
	}
	bottom := ownCPU() - began

	b.ResetTimer()
	began, child := ownCPU(), workersCPU(b, p)
	for range rounds {
		for _, r := range p.Look(b.Context(), tasks, time.Minute) {
			if r.Err != nil || r.Answer.Errno != 0 || r.Answer.Stage != check.StageStatx {
				b.Fatalf("%+v", r)
			}
		}
	}
	b.StopTimer()
	agent, child := ownCPU()-began, workersCPU(b, p)-child
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(rounds*items) }
	b.ReportMetric(each(bottom), "floor-cpu-ns/look")
	b.ReportMetric(each(agent), "agent-cpu-ns/look")
	b.ReportMetric(each(child), "worker-cpu-ns/look")
	b.ReportMetric(float64(agent+child)/float64(bottom), "times-the-floor")
}

// floor makes the system calls that a probe cannot do without.
func floor(b *testing.B, path string) {
	fd, err := sys.OpenDir(path)
	must(b, err)
	_, err = sys.Statfs(fd)
	must(b, err)
	_, err = sys.StatSync(fd)
	must(b, err)
	sys.Close(fd)
}

// procTasks are probes of /proc under this many names of devices.
func procTasks(tb testing.TB, p *Pool, target *proc.Process, items int) (tasks []Task) {
	tb.Helper()
	found := p.Look(tb.Context(), []Task{{Target: target, Request: check.Request{Path: "/proc"}}}, patience)[0]
	must(tb, found.Err)
	for i := range items {
		tasks = append(tasks, Task{
			Device: "0:" + strconv.Itoa(i), Target: target, Request: check.Request{Path: "/proc", MountID: found.Answer.MountID},
		})
	}
	return tasks
}

// realWorker builds the worker as it is shipped.
func realWorker(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), workerName)
	build := exec.CommandContext(tb.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path,
		"github.com/mountwarden/mountwarden/cmd/mountwarden-probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build the worker: %v\n%s", err, out)
	}
	return path
}

func ownCPU() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it takes no other argument that could be wrong
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// workersCPU reads what the workers have used, in the ticks of proc(5), which are 10 ms everywhere.
func workersCPU(tb testing.TB, p *Pool) (used time.Duration) {
	tb.Helper()
	for _, pid := range p.pids() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		must(tb, err)
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, field := range fields[11:13] { // utime and stime
			ticks, err := strconv.Atoi(field)
			must(tb, err)
			used += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return used
}

func (p *Pool) pids() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		pids = append(pids, w.process.Pid)
	}
	return pids
}
