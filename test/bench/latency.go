package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// measureLatency tells how long after a FUSE daemon's death the agent's log says that the mount has failed, and how long after it
// a loop finds out that calls statfs each millisecond.
func measureLatency(ctx context.Context, w *world, r *report) error {
	for _, row := range []struct {
		name   string
		flags  []string
		kills  int
		limits map[string]time.Duration
	}{
		{"events", nil, w.Options.Kills, map[string]time.Duration{"median": 50 * time.Millisecond, "p99": 500 * time.Millisecond}},
		{"no events, period 1 s", []string{"--events=false", "--defaults-period-seconds=1", "--defaults-timeout-seconds=1"},
			w.Options.PolledKills, map[string]time.Duration{"max": 3 * time.Second}},
		{"no events, period 10 s", []string{"--events=false"}, w.Options.PolledKills, map[string]time.Duration{"max": 12 * time.Second}},
	} {
		if err := latencyOf(ctx, w, r, row.name, row.flags, row.kills, row.limits); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	return nil
}

func latencyOf(ctx context.Context, w *world, r *report, name string, flags []string, kills int, limits map[string]time.Duration) error {
	pods, err := w.run(ctx, kills, kind{volumes: 1})
	if err != nil {
		return err
	}
	defer w.end(ctx, pods)
	a, err := w.startAgent(ctx, "latency", flags...)
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.until(ctx, mountHealthy, kills); err != nil {
		return err
	}
	if err := pause(ctx, w.Options.Settle/5); err != nil {
		return err
	}
	verdicts, floor, err := a.killAll(ctx, pods)
	if err != nil {
		return err
	}
	r.distribution("latency", "statfs each ms ("+name+")", floor, nil)
	r.distribution("latency", "verdict: "+name, verdicts, limits)
	return nil
}

// killAll kills the daemons of the pods one after the other.
func (a *agent) killAll(ctx context.Context, pods []*pod) (verdicts, floor []time.Duration, err error) {
	for _, p := range pods {
		if err := pause(ctx, rand.N(200*time.Millisecond)); err != nil { //nolint:gosec // no secret
			return nil, nil, err
		}
		found := make(chan time.Time, 1)
		quit := make(chan struct{})
		go statfsLoop(p.dirs[0], found, quit)
		if err := pause(ctx, 5*time.Millisecond); err != nil { // the loop runs
			close(quit)
			return nil, nil, err
		}
		killed := time.Now()
		p.daemons[0].kill()
		at, err := a.verdict(ctx, mountKey{string(p.object.UID), volumeName(0)}, time.Minute)
		close(quit)
		if err != nil {
			return nil, nil, fmt.Errorf("no verdict on %s: %w; log:\n%s", p.object.Name, err, a.lastLines())
		}
		verdicts = append(verdicts, at.Sub(killed))
		select {
		case at := <-found:
			floor = append(floor, at.Sub(killed))
		case <-time.After(time.Second):
			return nil, nil, errors.New("the statfs loop found no failure")
		}
	}
	return verdicts, floor, nil
}

// statfsLoop calls statfs each millisecond and tells when it failed.
func statfsLoop(dir string, found chan<- time.Time, quit <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var fs unix.Statfs_t
	for {
		if err := unix.Statfs(dir, &fs); err != nil && !errors.Is(err, unix.EINTR) {
			found <- time.Now()
			return
		}
		select {
		case <-tick.C:
		case <-quit:
			if unix.Statfs(dir, &fs) != nil {
				found <- time.Now()
			}
			return
		}
	}
}
