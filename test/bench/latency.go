package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// measureLatency tells how long after a FUSE daemon's death the agent's log says that the mount has failed, and how long after it
// a loop finds out that calls statfs each millisecond.
func measureLatency(ctx context.Context, w *world, r *report) error {
	cases := []latencyCase{
		{name: "events", kills: w.Options.Kills, limits: map[string]time.Duration{"median": 50 * time.Millisecond, "p99": 500 * time.Millisecond}},
	}
	for _, seconds := range w.Options.Periods {
		cases = append(cases, latencyCase{
			name: fmt.Sprintf("no events, period %d s", seconds), kills: w.Options.PolledKills, period: time.Duration(seconds) * time.Second,
		})
	}
	for _, c := range cases {
		if err := c.measure(ctx, w, r); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

type latencyCase struct {
	name   string
	kills  int
	period time.Duration // 0: with events
	limits map[string]time.Duration
}

func (c latencyCase) measure(ctx context.Context, w *world, r *report) error {
	pods, err := w.run(ctx, c.kills, kind{volumes: 1})
	if err != nil {
		return err
	}
	defer w.end(ctx, pods)
	var flags []string
	if c.period > 0 {
		flags = []string{"--events=false", fmt.Sprintf("--defaults-period-seconds=%.0f", c.period.Seconds()),
			fmt.Sprintf("--defaults-timeout-seconds=%.0f", min(5*time.Second, c.period).Seconds())}
		c.limits = map[string]time.Duration{"max": c.period + 2*time.Second}
	}
	a, err := w.startAgent(ctx, "latency", flags...)
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.until(ctx, mountHealthy, c.kills); err != nil {
		return err
	}
	if err := pause(ctx, w.Options.Settle/5); err != nil {
		return err
	}
	if c.period > 0 {
		verdicts, err := a.killWithin(ctx, pods, 2*c.period)
		r.distribution("latency", "verdict: "+c.name, verdicts, c.limits)
		return err
	}
	verdicts, floor, err := a.killInTurn(ctx, pods)
	r.distribution("latency", "floor: statfs each ms", floor, nil)
	r.distribution("latency", "verdict: "+c.name, verdicts, c.limits)
	return err
}

// killWithin kills the daemons of the pods at random moments of a time, whatever the agent is about.
func (a *agent) killWithin(ctx context.Context, pods []*pod, d time.Duration) ([]time.Duration, error) {
	verdicts, errs := make([]time.Duration, len(pods)), make([]error, len(pods))
	var kills sync.WaitGroup
	for i, p := range pods {
		kills.Go(func() {
			if errs[i] = pause(ctx, rand.N(d)); errs[i] == nil { //nolint:gosec // no secret
				verdicts[i], errs[i] = a.kills(ctx, p)
			}
		})
	}
	kills.Wait()
	return verdicts, errors.Join(errs...)
}

// killInTurn kills the daemons of the pods one after the other, each beside a loop that finds it out as well.
func (a *agent) killInTurn(ctx context.Context, pods []*pod) (verdicts, floor []time.Duration, err error) {
	for _, p := range pods {
		if err := pause(ctx, rand.N(200*time.Millisecond)); err != nil { //nolint:gosec // no secret
			return verdicts, floor, err
		}
		found := make(chan time.Time, 1)
		quit := make(chan struct{})
		go statfsLoop(p.dirs[0], found, quit)
		if err := pause(ctx, 5*time.Millisecond); err != nil { // the loop runs
			close(quit)
			return verdicts, floor, err
		}
		killed := time.Now()
		latency, err := a.kills(ctx, p)
		close(quit)
		if err != nil {
			return verdicts, floor, err
		}
		verdicts, floor = append(verdicts, latency), append(floor, (<-found).Sub(killed))
	}
	return verdicts, floor, nil
}

// kills ends the daemon of a pod's one mount and returns how long it took until the agent's log said that the mount has failed.
func (a *agent) kills(ctx context.Context, p *pod) (time.Duration, error) {
	killed := time.Now()
	p.daemons[0].kill()
	at, err := a.verdict(ctx, mountKey{string(p.object.UID), volumeName(0)}, time.Minute)
	if err != nil {
		return 0, fmt.Errorf("no verdict on %s: %w; log:\n%s", p.object.Name, err, a.lastLines())
	}
	return at.Sub(killed), nil
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
		case <-quit: // the last time, since the daemon is dead
			quit = nil
		}
	}
}
