package main

import (
	"context"
	"fmt"
	"time"
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
	a, err := w.startAgent(ctx, fmt.Sprintf("rest-%d", mounts))
	if err != nil {
		return err
	}
	defer a.kill()
	if err := a.until(ctx, mountHealthy, mounts); err != nil {
		return err
	}
	if err := pause(ctx, w.Options.Settle); err != nil {
		return err
	}
	before, err := a.meter.used()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, w.Options.Window); err != nil {
		return err
	}
	after, err := a.meter.used()
	if err != nil {
		return err
	}
	share := 100 * float64(after-before) / float64(time.Since(began))
	own, workers, count, err := a.memories()
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d mounts in %d pods: ", mounts, n)
	r.limit("rest", what+"CPU of agent and workers", share, "% of a core", 1)
	r.limit("rest", what+"RSS of agent and workers", mebibytes(own.RSS+workers.RSS), "MiB", 64)
	r.note("agent %.1f, %d workers %.1f; PSS %.1f", mebibytes(own.RSS), count, mebibytes(workers.RSS), mebibytes(own.PSS+workers.PSS))
	return a.until(ctx, mountHealthy, mounts)
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
