package observer

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// vainWithin is how long the successor of a removed pod may take to run, and how long it must then stay healthy, for the removal to
// have helped.
const vainWithin = 10 * time.Second

// Summary is what was seen, in figures.
type Summary struct {
	Removals       int            // that the API server has accepted
	Evictions      []int          // removals of each second, from the first failure on
	PeakConcurrent int            // removed pods whose successors did not run yet, at the worst time
	InVain         int            // removals whose successors did not come up healthy within ten seconds
	PeakUnhealthy  int            // pods
	AllHealthy     float64        // seconds from the first failure to the end of the last; negative when some are not healthy
	Requests       map[string]int // of the agents, by kind
	PerRemoval     float64        // requests of the agents for one removal, beside events
	Violations     []string
}

// Summary returns what was seen so far.
func (o *Observer) Summary() Summary {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Summary{Removals: len(o.removals), PeakUnhealthy: o.unhealthy.worst, Requests: maps.Clone(o.requests), AllHealthy: -1}
	if o.unhealthy.now == 0 && !o.unhealthy.since.IsZero() {
		s.AllHealthy = o.unhealthy.until.Sub(o.unhealthy.since).Round(100 * time.Millisecond).Seconds()
	}
	began := o.unhealthy.since
	for _, r := range o.removals {
		if r.inVain() {
			s.InVain++
		}
		if began.IsZero() {
			began = r.At
		}
		second := max(0, int(r.At.Sub(began).Seconds()))
		for len(s.Evictions) <= second {
			s.Evictions = append(s.Evictions, 0)
		}
		s.Evictions[second]++
	}
	s.PeakConcurrent = peak(o.removals)
	s.PerRemoval = perRemoval(o.requests, len(o.removals))
	for _, v := range o.violations {
		s.Violations = append(s.Violations, v.String())
	}
	return s
}

func (r *removal) inVain() bool {
	return r.broken || r.up.IsZero() || r.up.Sub(r.At) > vainWithin
}

// peak returns how many removals were under way together at most.
func peak(all []*removal) (most int) {
	type change struct {
		at time.Time
		by int
	}
	var changes []change
	for _, r := range all {
		changes = append(changes, change{r.At, 1})
		if !r.up.IsZero() {
			changes = append(changes, change{r.up, -1})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	now := 0
	for _, c := range changes {
		now += c.by
		most = max(most, now)
	}
	return most
}

func perRemoval(requests map[string]int, removals int) float64 {
	n := 0
	for kind, count := range requests {
		if !strings.HasSuffix(kind, " events") && kind != removedAgain {
			n += count
		}
	}
	return float64(n) / float64(max(1, removals))
}
