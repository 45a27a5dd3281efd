package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/world"
)

// The tests run in the cluster's pid namespace and see every process of the node.

// processes returns the pids whose command line begins with these words, and not with longer ones.
func processes(t *testing.T, words ...string) []int {
	t.Helper()
	want := []byte(strings.Join(words, "\x00") + "\x00")
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var pids []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.HasPrefix(line, want) {
			continue // it ended in the meantime
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		must(t, err)
		pids = append(pids, pid)
	}
	return pids
}

func agentProcess(t *testing.T) int {
	t.Helper()
	pids := processes(t, "/mountwarden", "agent")
	if len(pids) != 1 {
		t.Fatalf("%d processes of the agent: %v", len(pids), pids)
	}
	return pids[0]
}

// threads returns where in the kernel each thread of a process waits.
func threads(t *testing.T, pid int) []string {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	must(t, err)
	if len(files) == 0 {
		t.Fatalf("process %d has no threads", pid)
	}
	var all []string
	for _, file := range files {
		wchan, err := os.ReadFile(file)
		if err == nil {
			all = append(all, string(wchan))
		}
	}
	return all
}

// mayOversleep requires that the kernel may wake all threads of a process late by so much, which spares a fifth of the agent's time.
func mayOversleep(t *testing.T, pid int, slack time.Duration) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	for _, thread := range threads {
		text, err := os.ReadFile(filepath.Join("/proc", thread.Name(), "timerslack_ns"))
		if got := strings.TrimSpace(string(text)); err == nil && got != strconv.FormatInt(slack.Nanoseconds(), 10) {
			t.Errorf("thread %s of process %d may oversleep by %s ns, want %s", thread.Name(), pid, got, slack)
		}
	}
}

// inMount recognises the functions in which a task waits for a FUSE server.
func inMount(wchan string) bool {
	return strings.Contains(wchan, "fuse") || strings.Contains(wchan, "request_wait_answer")
}

// residentMiB returns the resident memory of a process, 0 when it has ended.
func residentMiB(t *testing.T, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(t, err)
			return float64(kib) / 1024
		}
	}
	return 0
}

// maxResidentMiB is what all processes of the agent may use with 30 watched pods.
const maxResidentMiB = 56

// littleMemory waits for the workers of the pods' start to be let go.
func littleMemory(t *testing.T, s *scene) {
	mayOversleep(t, agentProcess(t), 2*time.Millisecond)
	samples := s.scrape()["mountwarden_pods_watched"]
	if len(samples) != 1 || samples[0].Value < fleet {
		t.Fatalf("not %d watched pods: %v", fleet, samples)
	}
	main := agentProcess(t)
	most := 0.0
	err := world.Until(s.within(time.Minute), fmt.Sprintf("at most %d MiB to be resident", maxResidentMiB), func(context.Context) (bool, string) {
		workers := processes(t, "mountwarden-probe")
		sum := residentMiB(t, main)
		for _, pid := range workers {
			sum += residentMiB(t, pid)
		}
		most = max(most, sum)
		return len(workers) > 0 && sum > 1 && sum <= maxResidentMiB, fmt.Sprintf("%d workers, %.1f MiB", len(workers), sum)
	})
	must(t, err)
	t.Logf("%.1f MiB resident at most", most)
}
