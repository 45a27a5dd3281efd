package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
)

// agent is the real one, as a process of its own.
type agent struct {
	cmd     *exec.Cmd
	meter   meter
	metrics string // URL
	status  string // URL
	read    chan struct{}

	mu     sync.Mutex
	failed map[mountKey]time.Time // when its log said so
	log    []string               // its last lines
}

// mountKey names a mount in the agent's log.
type mountKey struct{ pod, volume string }

// startAgent starts an agent with flags beyond the necessary ones.
func (w *world) startAgent(ctx context.Context, name string, flags ...string) (*agent, error) {
	ports, err := apiserver.FreePorts(3)
	if err != nil {
		return nil, err
	}
	flags = append([]string{"agent", "--node-name=" + nodeName, "--namespace=default", "--worker-path=" + w.Options.Worker,
		"--backend-path=" + filepath.Join(filepath.Dir(w.Options.Agent), "mountwarden-backend"), "--metrics-bind-address=127.0.0.1:" + ports[0], "--health-probe-bind-address=127.0.0.1:" + ports[1],
		"--status-bind-address=127.0.0.1:" + ports[2]}, flags...)
	cmd := exec.CommandContext(ctx, w.Options.Agent, flags...)
	cmd.Env = []string{"KUBECONFIG=" + w.api.Kubeconfig, fmt.Sprintf("MEMORY_LIMIT=%dMi", chartLimit)} // as the chart sets it
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent: %w", err)
	}
	a := &agent{cmd: cmd, metrics: "http://127.0.0.1:" + ports[0] + "/metrics", status: "http://127.0.0.1:" + ports[2] + "/statusz", read: make(chan struct{}), failed: map[mountKey]time.Time{}}
	go a.follow(stderr)
	a.meter, err = newMeter(cmd.Process.Pid, w.Group, name)
	if err != nil {
		a.kill()
	}
	return a, err
}

// follow reads the log.
func (a *agent) follow(log io.Reader) {
	defer close(a.read)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		now := time.Now()
		var line struct{ Msg, PodUID, Volume string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line.Msg = ""
		}
		a.mu.Lock()
		if line.Msg == "Mount failed" {
			a.failed[mountKey{line.PodUID, line.Volume}] = now
		}
		a.log = append(a.log[max(0, len(a.log)-20):], lines.Text())
		a.mu.Unlock()
	}
}

// lastLines is the end of the log.
func (a *agent) lastLines() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.log, "\n")
}

// verdict waits until the log says that a mount has failed, and returns when it said so.
func (a *agent) verdict(ctx context.Context, key mountKey, patience time.Duration) (at time.Time, err error) {
	err = wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		at = a.failed[key]
		return !at.IsZero(), nil
	})
	return at, err
}

// fetch returns what a URL answers, uncompressed.
func fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}

// scrape returns the samples by their name and labels, as they are written.
func (a *agent) scrape(ctx context.Context) (map[string]float64, error) {
	text, err := fetch(ctx, a.metrics)
	if err != nil {
		return nil, err
	}
	samples := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && lines.Text()[0] != '#' {
			samples[lines.Text()[:i]], err = strconv.ParseFloat(lines.Text()[i+1:], 64)
			if err != nil {
				return nil, err
			}
		}
	}
	return samples, lines.Err()
}

// sum adds the samples of a metric.
func sum(samples map[string]float64, name string) (total float64) {
	for key, value := range samples {
		if key == name || strings.HasPrefix(key, name+"{") {
			total += value
		}
	}
	return total
}

// until waits until the metric has the sum.
func (a *agent) until(ctx context.Context, metric string, want int) error {
	last := "nothing"
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		samples, err := a.scrape(ctx)
		if err != nil {
			if ctx.Err() == nil {
				last = err.Error()
			}
			return false, nil
		}
		got := sum(samples, metric)
		last = strconv.FormatFloat(got, 'f', -1, 64)
		return got == float64(want), nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be %d: %w; last %s; log:\n%s", metric, want, err, last, a.lastLines())
	}
	return nil
}

func (a *agent) kill() {
	_ = a.cmd.Process.Kill() // gone already
	<-a.read
	_ = a.cmd.Wait() // was killed
}

// stop asks the agent to end and returns how long it took.
func (a *agent) stop() (time.Duration, error) {
	began := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	late := time.AfterFunc(time.Minute, func() { _ = a.cmd.Process.Kill() }) // tells by the error
	defer late.Stop()
	state, err := a.cmd.Process.Wait()
	took := time.Since(began)
	if err == nil && !state.Success() {
		err = fmt.Errorf("the agent ended: %s; log:\n%s", state, a.lastLines())
	}
	return took, err
}

// memory is that of processes in bytes.
type memory struct{ RSS, PSS int64 }

// memories returns that of the agent and of all its workers, and how many these are.
func (a *agent) memories() (own, workers memory, n int, err error) {
	if own, err = memoryOf(a.cmd.Process.Pid); err != nil {
		return own, workers, 0, err
	}
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return own, workers, 0, err
	}
	for _, file := range children {
		pid, parent := ids(file)
		if parent != a.cmd.Process.Pid {
			continue
		}
		m, err := memoryOf(pid)
		if err != nil {
			continue // ended since
		}
		workers.RSS += m.RSS
		workers.PSS += m.PSS
		n++
	}
	return own, workers, n, nil
}

// ids reads a process's id and its parent's from its stat.
func ids(file string) (pid, parent int) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0 // ended since
	}
	var state string
	end := strings.LastIndexByte(string(text), ')')
	_, err = fmt.Sscan(string(text), &pid)
	_, err2 := fmt.Sscan(string(text[end+1:]), &state, &parent)
	if errors.Join(err, err2) != nil {
		return 0, 0
	}
	return pid, parent
}

func memoryOf(pid int) (memory, error) {
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	return memory{RSS: kilobytes(string(rollup), "Rss:"), PSS: kilobytes(string(rollup), "Pss:")}, nil
}

func kilobytes(text, key string) int64 {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == key {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// threads returns how many threads the agent has.
func (a *agent) threads() (int, error) {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", a.cmd.Process.Pid))
	return len(all), err
}

func unmount(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
