package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/mountwarden/mountwarden/config"
)

const (
	mountHealthy = "mountwarden_mount_healthy"
	parkedLooks  = "mountwarden_probes_parked"
)

// measureRest tells what the agent costs while nothing happens, at default settings.
func measureRest(ctx context.Context, w *world, r *report) error {
	for _, mounts := range w.Options.Mounts {
		if err := measureRestOf(ctx, w, r, mounts); err != nil {
			return fmt.Errorf("%d mounts: %w", mounts, err)
		}
	}
	return nil
}

func measureRestOf(ctx context.Context, w *world, r *report, mounts int) error {
	n := min(mounts, w.Options.Pods)
	pods, err := w.run(ctx, n, kind{volumes: mounts / n})
	if err != nil {
		return err
	}
	defer w.end(ctx, pods)
	mounts = n * (mounts / n)
	floor, err := w.floorAtRest(ctx, pods)
	if err != nil {
		return err
	}
	a, err := w.startAgent(ctx, fmt.Sprintf("rest-%d", mounts))
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.until(ctx, mountHealthy, mounts); err != nil {
		return err
	}
	share, err := w.atRest(ctx, a.meter)
	if err != nil {
		return err
	}
	own, workers, count, err := a.memories()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d mounts in %d pods: ", mounts, n)
	r.limit("rest", what+"CPU of agent and workers", share, "% of a core", 1)
	r.add("rest", what+"floor: a process that does nothing but ask as often", floor, "% of a core")
	r.limit("rest", what+"ratio to that floor", share/floor, "", maxRestRatio)
	r.limit("rest", what+"RSS of agent and workers", mebibytes(own.RSS+workers.RSS), "MiB", 64)
	r.note("agent %.1f, %d workers %.1f; PSS %.1f", mebibytes(own.RSS), count, mebibytes(workers.RSS), mebibytes(own.PSS+workers.PSS))
	if err := a.until(ctx, mountHealthy, mounts); err != nil {
		return err
	}
	return readers(ctx, r, a, what)
}

// readings is how often the metrics and the page are read, one after the other.
const readings = 20

// readers tells what it takes to scrape the metrics, and to read the page of the status, and what memory that leaves the agent with.
func readers(ctx context.Context, r *report, a *agent, what string) error {
	for _, of := range []struct {
		name, url   string
		most, bytes float64 // milliseconds, MiB
	}{{"scrape", a.metrics, 300, 1}, {"page of the status", a.status, 0, 0}} {
		var took []time.Duration
		size := 0
		for range readings {
			began := time.Now()
			text, err := fetch(ctx, of.url)
			if err != nil {
				return err
			}
			took, size = append(took, time.Since(began)), len(text)
		}
		slices.Sort(took)
		r.figureOf("rest", what+of.name+", median", milliseconds(took[len(took)/2]), "ms", of.most)
		r.figureOf("rest", what+of.name+", size", mebibytes(int64(size)), "MiB", of.bytes)
	}
	own, workers, _, err := a.memories()
	r.add("rest", what+fmt.Sprintf("RSS after %d scrapes and pages", readings), mebibytes(own.RSS+workers.RSS), "MiB")
	return err
}

// maxRestRatio is that of a look, since CPU shares are those of one machine: where waking up an idle processor is dear, the floor is, too.
const maxRestRatio = 5

// atRest returns the CPU share of what is metered, in percent of a core.
func (w *world) atRest(ctx context.Context, m meter) (float64, error) {
	if err := pause(ctx, w.Options.Settle); err != nil {
		return 0, err
	}
	before, err := m.used()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := pause(ctx, w.Options.Window); err != nil {
		return 0, err
	}
	after, err := m.used()
	return 100 * float64(after-before) / float64(time.Since(began)), err
}

// floorAtRest returns the CPU share of a process that asks each mount as often as an agent does by default.
func (w *world) floorAtRest(ctx context.Context, pods []*pod) (float64, error) {
	t := resterTask{Period: time.Duration(config.Default().Defaults.PeriodSeconds) * time.Second}
	for _, p := range pods {
		t.Pods = append(t.Pods, filepath.Dir(filepath.Dir(p.dirs[0])))
	}
	c, err := start("rester", t, nil)
	if err != nil {
		return 0, err
	}
	defer c.kill()
	if err := c.ready(); err != nil {
		return 0, err
	}
	m, err := newMeter(c.cmd.Process.Pid, w.Group, fmt.Sprintf("rester-%d", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return w.atRest(ctx, m)
}

// resterTask is what a rester asks within a period, in ten groups of pods as the agent does (docs/adr/0009).
type resterTask struct {
	Pods   []string // the folder of each where the kubelet has its volumes
	Period time.Duration
}

func resterRole() error {
	var t resterTask
	if err := task(&t); err != nil {
		return err
	}
	var pods [][]string
	for _, folder := range t.Pods {
		dirs, err := filepath.Glob(filepath.Join(folder, "*/mount"))
		if err != nil {
			return err
		}
		pods = append(pods, dirs)
	}
	go ask(pods, t.Period)
	return serveUntilEnd()
}

// ask asks the mounts of all pods within each period, until the process ends.
func ask(pods [][]string, period time.Duration) {
	const groups = 10
	tick := time.NewTicker(period / groups)
	defer tick.Stop()
	for group := 0; ; group = (group + 1) % groups {
		for i := group; i < len(pods); i += groups {
			for _, dir := range pods[i] {
				if err := openAndLook(dir); err != nil {
					exit(fmt.Errorf("look at %s: %w", dir, err))
				}
			}
		}
		<-tick.C
	}
}

// pause waits, unless the run ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
