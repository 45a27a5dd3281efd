package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mountwarden/mountwarden/config"
)

const mountsAPod = 10 // of the pods whose mounts hang

// measureHung tells what mounts that never answer do to the agent and to the mounts beside them: without any, with room to park
// all of them, and at the default, which has not.
func measureHung(ctx context.Context, w *world, r *report) error {
	base, err := hungRun(ctx, w, r, hungCase{name: "no hung mount"}, 0)
	if err != nil {
		return fmt.Errorf("none: %w", err)
	}
	for _, c := range []hungCase{
		{name: fmt.Sprintf("%d hung, room for all", w.Options.Hung), hung: w.Options.Hung, room: w.Options.Hung + 28, hold: w.Options.Hold},
		{name: fmt.Sprintf("%d hung, default room", w.Options.Hung), hung: w.Options.Hung, hold: w.Options.Settle},
	} {
		if _, err := hungRun(ctx, w, r, c, base); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

type hungCase struct {
	name string
	hung int
	room int           // 0 is the default
	hold time.Duration // how much longer they hang
}

// hungRun measures beside c.hung mounts that never answer and returns the median latency of the others.
func hungRun(ctx context.Context, w *world, r *report, c hungCase, base time.Duration) (time.Duration, error) {
	healthy, err := w.run(ctx, w.Options.HungKills, kind{volumes: 1})
	if err != nil {
		return 0, err
	}
	defer w.end(ctx, healthy)
	var flags []string
	parked := min(c.hung, config.Default().MaxParkedWorkers)
	if c.room > 0 {
		flags, parked = []string{"--max-parked-workers=" + strconv.Itoa(c.room)}, c.hung
	}
	a, err := w.startAgent(ctx, "hung", flags...)
	if err != nil {
		return 0, err
	}
	defer a.kill()
	if err := a.until(ctx, mountHealthy, len(healthy)); err != nil {
		return 0, err
	}
	if err := pause(ctx, w.Options.Settle/2); err != nil {
		return 0, err
	}
	before, err := a.size(ctx)
	if err != nil {
		return 0, err
	}
	hung, err := w.run(ctx, c.hung/mountsAPod, kind{volumes: mountsAPod, silent: true})
	if err != nil {
		return 0, err
	}
	defer w.end(ctx, hung)
	if err := a.until(ctx, parkedLooks, parked); err != nil {
		return 0, err
	}
	if err := pause(ctx, w.Options.Settle); err != nil {
		return 0, err
	}
	early, err := a.size(ctx)
	if err != nil {
		return 0, err
	}
	verdicts, _, err := a.killInTurn(ctx, healthy)
	if err != nil {
		return 0, err
	}
	slices.Sort(verdicts)
	median := quantile(verdicts, 0.5)
	if c.hung == 0 {
		r.distribution("hung", c.name+": latency of the others", verdicts, nil)
		return median, a.exit(r, c)
	}
	if err := pause(ctx, c.hold); err != nil {
		return 0, err
	}
	late, err := a.size(ctx)
	if err != nil {
		return 0, err
	}
	r.distribution("hung", c.name+": latency of the others", verdicts, map[string]time.Duration{"median": 2 * base})
	r.limit("hung", c.name+": threads of the agent", float64(late.threads), "", float64(before.threads+2))
	r.note("before %d, when parked %d, %d parked", before.threads, early.threads, late.parked)
	r.limit("hung", c.name+": goroutines of the agent", float64(late.goroutines), "", float64(early.goroutines+10))
	r.note("before %d, when parked %d, after %s more %d", before.goroutines, early.goroutines, c.hold, late.goroutines)
	if err := a.weigh(r, c); err != nil {
		return 0, err
	}
	return median, a.exit(r, c)
}

// chartLimit is the memory limit of the chart, in MiB, which is meant for the default room.
const chartLimit = 128

// weigh reports the memory of the agent and of its workers, the parked ones among them.
func (a *agent) weigh(r *report, c hungCase) error {
	own, workers, n, err := a.memories()
	if err != nil {
		return err
	}
	what, weight := c.name+": PSS of agent and workers", mebibytes(own.PSS+workers.PSS)
	if c.room == 0 {
		r.limit("hung", what, weight, "MiB", chartLimit)
	} else {
		r.add("hung", what, weight, "MiB")
	}
	r.note("agent %.1f, %d workers %.1f", mebibytes(own.PSS), n, mebibytes(workers.PSS))
	return nil
}

// exit ends the agent and reports how long it took.
func (a *agent) exit(r *report, c hungCase) error {
	took, err := a.stop()
	if err != nil {
		return err
	}
	r.limit("hung", c.name+": from SIGTERM to exit", took.Seconds(), "s", 10)
	return nil
}

// size is how much of what may leak the agent has.
type size struct{ threads, goroutines, parked int }

// size returns the least of a period and a half: looks that are under way at a moment have goroutines, too.
func (a *agent) size(ctx context.Context) (size, error) {
	var least size
	for i := range 15 {
		if err := pause(ctx, time.Second); err != nil {
			return least, err
		}
		samples, err := a.scrape(ctx)
		if err != nil {
			return least, err
		}
		if n := int(sum(samples, "go_goroutines")); i == 0 || n < least.goroutines {
			least.goroutines, least.parked = n, int(sum(samples, parkedLooks))
		}
	}
	var err error
	least.threads, err = a.threads()
	return least, err
}
