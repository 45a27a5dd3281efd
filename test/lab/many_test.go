package lab_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/node"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

const many = 20

// manyVolumes is a container with many volumes and a healthy one, which is last.
func manyVolumes(t *testing.T) (volumes []*faultfs.Server, pod probes.Pod) {
	t.Helper()
	needRoot(t)
	binds := map[string]string{}
	var paths []string
	for i := range many + 1 {
		s := newVolume(t, faultfs.Options{})
		path := fmt.Sprintf("/data/%02d", i)
		volumes, paths = append(volumes, s), append(paths, path)
		binds[path] = s.Mountpoint()
	}
	return volumes, podOf(newContainer(t, spec{Binds: binds}), paths...)
}

func TestManyHungMounts(t *testing.T) {
	volumes, pod := manyVolumes(t)
	p := newProber(t, node.Options{})
	for _, o := range lookAll(t, p, pod, timeout) {
		expect(t, o, probes.Healthy, probes.CauseNone)
	}
	threads := len(tasks(t, os.Getpid()))
	for _, s := range volumes[:many] {
		must(t, s.Hang(faultfs.All))
	}

	began := time.Now()
	seen := lookAll(t, p, pod, manyTimeout)
	for _, o := range seen[:many] {
		expect(t, o, probes.Broken, probes.CauseHung)
	}
	healthy := seen[many]
	expect(t, healthy, probes.Healthy, probes.CauseNone)
	t.Logf("healthy answered after %s, all after %s", healthy.Finished.Sub(began), time.Since(began))
	if !healthy.Finished.Before(began.Add(manyTimeout)) {
		t.Errorf("the healthy mount waited for the hung ones: %s", healthy.Finished.Sub(began))
	}

	// Nobody of this process is inside a mount; the workers are.
	if inside := insideFUSE(t, os.Getpid()); inside != 0 {
		t.Errorf("%d threads of the prober's process are inside a FUSE", inside)
	}
	workersInside := 0
	for _, pid := range children(t) {
		workersInside += insideFUSE(t, pid)
	}
	if workersInside != many && tellsWhere(t) {
		t.Errorf("%d worker threads are inside a FUSE, want %d: is wchan readable?", workersInside, many)
	}
	if now := len(tasks(t, os.Getpid())); now > threads+many/2 {
		t.Errorf("%d hung mounts took the process from %d to %d threads", many, threads, now)
	}
	if s := p.Stats(); s.Parked != many || s.InFlight != many {
		t.Errorf("%d looks should be parked: %+v", many, s)
	}
	for _, s := range volumes[:many] {
		must(t, s.Clear())
	}
	eventually(t, "all parked workers returned", func() bool { return p.Stats().Parked == 0 })
	for _, o := range lookAll(t, p, pod, timeout) {
		expect(t, o, probes.Healthy, probes.CauseNone)
	}
}

func TestParkedAreCapped(t *testing.T) {
	volumes, pod := manyVolumes(t)
	p := newLooker(t, node.Options{MaxActive: 4, MaxParked: 8})
	for _, s := range volumes[:many] {
		must(t, s.Stop())
	}
	causes := map[probes.Cause]int{}
	for _, o := range lookAll(t, p, pod, manyTimeout)[:many] {
		causes[o.Cause]++
		if o.Health == probes.Healthy || o.Health == probes.Unknown && o.Detail == "" {
			t.Errorf("hung, but %+v", o)
		}
	}
	if causes[probes.CauseHung] != 8 || causes[probes.CauseNone] != many-8 {
		t.Errorf("8 may be parked, the others are unknown: %v", causes)
	}
	// The workers beyond the cap were given up, so that a healthy mount is still looked at.
	eventually(t, "workers beyond the cap ended", func() bool {
		s := p.Stats()
		return s.Workers-s.Idle <= 8
	})
	healthy := pod
	healthy.Containers = []probes.Container{pod.Containers[0]}
	healthy.Containers[0].Mounts = pod.Containers[0].Mounts[many:]
	expect(t, lookAt(t, p, healthy, timeout), probes.Healthy, probes.CauseNone)
}

func TestCloseWithStuckWorkers(t *testing.T) {
	volumes, pod := manyVolumes(t)
	p := newProber(t, node.Options{})
	for _, s := range volumes {
		must(t, s.Hang(faultfs.All))
	}
	lookAll(t, p, pod, manyTimeout)
	if stats := p.Stats(); stats.Parked != many+1 {
		t.Fatalf("%d should be parked: %+v", many+1, stats)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	began := time.Now()
	if err := p.Close(ctx); err == nil {
		t.Error("no worker was stuck in the kernel: the requests were read, so they should be")
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("close took %s", took)
	}
	for _, s := range volumes {
		must(t, s.Abort())
	}
	must(t, p.Close(context.Background()))
	if left := children(t); len(left) != 0 {
		t.Errorf("workers left: %v", left)
	}
	expect(t, p.Probe(t.Context(), pod, timeout)[0], probes.Unknown, probes.CauseNone)
}

// A look pins nothing: when the container is killed and the volume unmounted the connection is gone.
func TestNothingIsPinned(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
	expect(t, lookAt(t, p, podOf(c, "/data"), timeout), probes.Healthy, probes.CauseNone)
	c.kill()
	must(t, syscall.Unmount(s.Mountpoint(), 0)) // EBUSY if anybody held it
	connection := fmt.Sprintf("/sys/fs/fuse/connections/%d", s.Connection())
	eventually(t, "connection gone", func() bool {
		_, err := os.Stat(connection)
		return os.IsNotExist(err)
	})
}

func TestParkedWorkerEndsWithItsContainer(t *testing.T) {
	p := newLooker(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
	must(t, s.Stop())
	expect(t, lookAt(t, p, podOf(c, "/data"), hangTimeout), probes.Broken, probes.CauseHung)
	c.kill()
	eventually(t, "parked worker ended", func() bool {
		stats := p.Stats()
		return stats.Parked == 0 && stats.Workers == 0
	})
}

func TestWorkerCrash(t *testing.T) {
	p := newProber(t, node.Options{})
	s := newVolume(t, faultfs.Options{})
	c := newContainer(t, spec{Binds: map[string]string{"/data": s.Mountpoint()}})
	must(t, s.Stop())
	expect(t, lookAt(t, p, podOf(c, "/data"), hangTimeout), probes.Broken, probes.CauseHung)
	for _, pid := range children(t) {
		must(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	eventually(t, "worker reaped", func() bool { return p.Stats().Workers == 0 })
	must(t, s.Continue())
	expect(t, lookAt(t, p, podOf(c, "/data"), timeout), probes.Healthy, probes.CauseNone)
}

func TestWorkersAreSmallAndUnprivileged(t *testing.T) {
	p := newProber(t, node.Options{})
	seen := p.ProbeSelf(t.Context(), selfAt("/"), timeout)
	expect(t, seen[0], probes.Healthy, probes.CauseNone)
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("one worker should be idle: %v", pids)
	}
	status := field(t, pids[0])
	const kept = "0000000000080004" // CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH
	for key, want := range map[string]string{
		"NoNewPrivs": "1", "CapEff": kept, "CapPrm": kept, "CapInh": "0000000000000000", "CapAmb": "0000000000000000", "CapBnd": kept,
	} {
		if status[key] != want {
			t.Errorf("%s of the worker is %s, want %s", key, status[key], want)
		}
	}
	if stats := p.Stats(); stats.Undropped != "" {
		t.Errorf("not dropped: %s", stats.Undropped)
	}
	info, err := os.Stat(ownWorker(t))
	must(t, err)
	t.Logf("binary %d KiB, RSS %s, private %s", info.Size()>>10, status["VmRSS"], status["RssAnon"])
	if info.Size() > 2<<20 {
		t.Errorf("the worker's binary has %d bytes, at most 2 MiB are allowed", info.Size())
	}
}

// What wakes a worker is its work: none of its threads may be woken for its own sake more often than every 10 ms.
func TestWorkersMayOversleep(t *testing.T) {
	p := newProber(t, node.Options{})
	expect(t, p.ProbeSelf(t.Context(), selfAt("/"), timeout)[0], probes.Healthy, probes.CauseNone)
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("one worker should be idle: %v", pids)
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pids[0]))
	must(t, err)
	for _, thread := range threads {
		slack, err := os.ReadFile(filepath.Join("/proc", thread.Name(), "timerslack_ns"))
		must(t, err)
		if got := strings.TrimSpace(string(slack)); got != "10000000" {
			t.Errorf("thread %s of the worker may oversleep by %s ns, want 10 ms", thread.Name(), got)
		}
	}
}

// workerComm is the name that the kernel keeps of the workers: 15 bytes.
const workerComm = "mountwarden-pro"

// children are the workers that this process started, zombies included.
func children(t *testing.T) []int {
	t.Helper()
	return childrenNamed(t, workerComm)
}

func childrenNamed(t *testing.T, comm string) (pids []int) {
	t.Helper()
	folders, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, folder := range folders {
		fields, err := statusOf(filepath.Base(folder)) // stat may wait for a process that execve keeps
		if err != nil || fields["Name"] != comm || fields["PPid"] != strconv.Itoa(os.Getpid()) {
			continue // ended since, or another's
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func tasks(t *testing.T, pid int) []string {
	t.Helper()
	folders, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	must(t, err)
	return folders
}

// tellsWhere reports whether the kernel tells the function that a process waits in (proc_pid_wchan(5)), as x86 does of all since Linux 5.16.
func tellsWhere(t *testing.T) bool {
	t.Helper()
	return isLinux(t, "5.16")
}

// insideFUSE counts the threads that wait for a FUSE server.
func insideFUSE(t *testing.T, pid int) (n int) {
	t.Helper()
	for _, task := range tasks(t, pid) {
		where, err := os.ReadFile(filepath.Join(task, "wchan"))
		if err == nil && (strings.Contains(string(where), "fuse") || strings.Contains(string(where), "request_wait")) {
			n++
		}
	}
	return n
}

func field(t *testing.T, pid int) map[string]string {
	t.Helper()
	fields, err := statusOf(strconv.Itoa(pid))
	must(t, err)
	return fields
}

// statusOf reads proc_pid_status(5).
func statusOf(process string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", process, "status"))
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	return fields, nil
}
