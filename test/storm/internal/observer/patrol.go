package observer

import (
	"context"
	"fmt"
	"time"

	"github.com/mountwarden/mountwarden/probes"
)

// health counts the pods that are not as they should be, over time.
type health struct {
	now   int
	worst int
	since time.Time // when the first of them was seen
	until time.Time // when the last was over
}

// note brings the count up to date with one pod.
func (h *health) note(p *pod, now time.Time) {
	bad := p.judged && !p.gone && (p.fault != "" || p.ending != nil || p.running.IsZero())
	if bad == p.unhealthy {
		return
	}
	p.unhealthy = bad
	if !bad {
		h.now--
		h.until = now
		return
	}
	if h.since.IsZero() {
		h.since = now
	}
	h.now++
	h.worst = max(h.worst, h.now)
}

// patrol looks for what should have happened and did not, until ctx ends.
func (o *Observer) patrol(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			o.inspect(now)
		}
	}
}

// explainedWithin is how much later than the audit log the watch of pods may be.
const explainedWithin = 20 * time.Second

func (o *Observer) inspect(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.pods {
		if o.isUntold(p, now) {
			p.untold = true
			o.violated(Untold, now, p.String(), fmt.Sprintf("its mount is broken (%s) for %s", p.fault, now.Sub(p.since).Round(time.Second)))
		}
	}
	for i, c := range o.waiting {
		if now.Sub(c.At) > explainedWithin && c.Verb != "" {
			o.violated(Unexplained, c.At, c.String(), c.Verb+" by "+c.User)
			o.waiting[i].Verb = "" // told once
		}
	}
}

// isUntold reports whether a definitive failure has led to nothing: the pod stays, and no event of after the failure says why.
func (o *Observer) isUntold(p *pod, now time.Time) bool {
	if p.untold || !p.judged || p.gone || p.ending != nil || p.running.IsZero() {
		return false
	}
	return probes.Cause(p.fault).Definitive() && !p.told.After(p.since) && now.Sub(p.since) > o.Limits.ToldWithin
}

// Quiet begins the count of unhealthy pods anew, when a world is made and all are well.
func (o *Observer) Quiet() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unhealthy.since, o.unhealthy.until, o.unhealthy.worst = time.Time{}, time.Time{}, o.unhealthy.now
	clear(o.requests)
}
