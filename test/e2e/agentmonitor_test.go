package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// sampleEvery is from one sample of the agent to the next.
	sampleEvery = time.Second
	// answerWithin is the timeout of the chart's livenessProbe.
	answerWithin = 3 * time.Second
	// stuckSamples is in how many consecutive samples a thread in state D counts as stuck. Each is
	// in that state for a moment when it reads a page of its program, for example.
	stuckSamples = 3
)

// agentMonitor samples the agent each second: whether it answers as the kubelet asks, its memory,
// its threads.
type agentMonitor struct {
	agent *corev1.Pod
	limit float64 // of its container's memory, in MiB
	pid   int
	end   func()

	asked      int
	unanswered []string
	resident   float64        // the most that was ever resident, in MiB
	peak       float64        // the most that its cgroup ever had, in MiB; 0 where the kernel does not tell
	waiting    map[string]int // by thread: in how many samples in a row it was in state D
	stuck      map[string]string
}

// monitorAgent begins to sample the agent, until finish or the end of the test, which assert what
// the samples show.
func (s *scene) monitorAgent() *agentMonitor {
	s.Helper()
	agent, err := s.Agent(s.within(patience))
	must(s.T, err)
	m := &agentMonitor{
		agent: agent, pid: agentProcess(s.T), waiting: map[string]int{}, stuck: map[string]string{},
		limit: agent.Spec.Containers[0].Resources.Limits.Memory().AsApproximateFloat64() / (1 << 20),
	}
	if m.limit == 0 {
		s.Fatal("the agent's container has no memory limit")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.run(ctx)
	}()
	m.end = sync.OnceFunc(func() {
		cancel()
		<-done
		m.check(s)
	})
	s.Cleanup(m.end)
	return m
}

// finish ends the samples and asserts that the agent was healthy in all of them.
func (m *agentMonitor) finish() { m.end() }

func (m *agentMonitor) run(ctx context.Context) {
	began := time.Now()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		m.askHealth(ctx, began)
		m.readMemory()
		m.readThreads()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// askHealth asks over a connection of its own, as the kubelet does.
func (m *agentMonitor) askHealth(ctx context.Context, began time.Time) {
	client := http.Client{Timeout: answerWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(m.agent.Status.PodIP, "8081")+"/healthz", http.NoBody)
	if err != nil {
		m.unanswered = append(m.unanswered, err.Error())
		return
	}
	answer, err := client.Do(request)
	if err == nil {
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("it answers %s", answer.Status)
		}
	}
	if ctx.Err() != nil {
		return
	}
	m.asked++
	if err != nil {
		m.unanswered = append(m.unanswered, fmt.Sprintf("after %s: %v", time.Since(began).Round(time.Second), err))
	}
}

// readMemory reads the high-water marks, which stay at what they were once the process has ended.
func (m *agentMonitor) readMemory() {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				m.resident = max(m.resident, mebibytes(strings.Fields(rest)[0])*1024) // kB there
			}
		}
	}
	if text, err := os.ReadFile(peakFile(m.pid)); err == nil {
		m.peak = max(m.peak, mebibytes(strings.TrimSpace(string(text))))
	}
}

func mebibytes(number string) float64 {
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0
	}
	return n / (1 << 20)
}

// peakFile is where the kernel tells the most memory that the process's cgroup has had
// (cgroup-v1/memory.rst, cgroup-v2.rst).
func peakFile(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	file := ""
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[1] == "memory":
			return filepath.Join("/sys/fs/cgroup/memory", fields[2], "memory.max_usage_in_bytes")
		case fields[1] == "":
			file = filepath.Join("/sys/fs/cgroup", fields[2], "memory.peak")
		}
	}
	return file
}

// readThreads notes the threads in state D, and where in the kernel they wait (proc_pid_stat(5),
// proc_pid_wchan(5)).
func (m *agentMonitor) readThreads() {
	folders, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", m.pid))
	if err != nil {
		return
	}
	waiting := map[string]int{}
	for _, folder := range folders {
		stat, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil || !strings.Contains(string(stat), ") D ") {
			continue
		}
		waiting[folder] = m.waiting[folder] + 1
		if waiting[folder] >= stuckSamples {
			wchan, _ := os.ReadFile(filepath.Join(folder, "wchan"))
			m.stuck[folder] = string(wchan)
		}
	}
	m.waiting = waiting
}

// check asserts what the samples show. The test's own context may have ended.
func (m *agentMonitor) check(s *scene) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now, err := s.Client.CoreV1().Pods(m.agent.Namespace).Get(ctx, m.agent.Name, metav1.GetOptions{})
	switch {
	case err != nil:
		s.Errorf("the agent's pod is not the one that it was: %v", err)
	case now.UID != m.agent.UID:
		s.Error("the agent's pod is not the one that it was")
	default:
		was, is := m.agent.Status.ContainerStatuses[0], now.Status.ContainerStatuses[0]
		if is.RestartCount != was.RestartCount || is.ContainerID != was.ContainerID {
			s.Errorf("the agent was restarted %d times; it ended last with %+v", is.RestartCount-was.RestartCount, is.LastTerminationState.Terminated)
		}
	}
	if m.asked == 0 || len(m.unanswered) > 0 {
		s.Errorf("/healthz was not answered %d of %d times, the first: %s", len(m.unanswered), m.asked, strings.Join(m.unanswered[:min(3, len(m.unanswered))], "; "))
	}
	if m.resident == 0 || m.resident >= m.limit || m.peak >= m.limit {
		s.Errorf("the agent had %.1f MiB resident and its cgroup %.1f MiB, want less than the limit of %.0f MiB", m.resident, m.peak, m.limit)
	}
	for thread, wchan := range m.stuck {
		s.Errorf("a thread of the agent's main process was in state D for %s or longer, %s: it waits in %s", (stuckSamples-1)*sampleEvery, thread, wchan)
	}
	s.Logf("the agent: %.1f MiB resident at most, %.1f MiB in its cgroup at most, of %.0f MiB; /healthz answered %d of %d times",
		m.resident, m.peak, m.limit, m.asked-len(m.unanswered), m.asked)
}
