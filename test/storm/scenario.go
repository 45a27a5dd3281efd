package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// scenario is one kind of worst day, played by several casts.
type scenario struct {
	name     string
	together bool // the casts play at the same time, each with a ledger of its own
	casts    []cast
}

func scenarioNames() []string { return []string{"dead", "flapping", "five", "rolling", "chaos"} }

func scenarios(o options) []scenario {
	return []scenario{dead(o), flapping(o), five(o), rolling(o), chaos(o)}
}

// play plays all casts. One that does not come to its end is reported as it is.
func (s scenario) play(ctx context.Context, l *lab, r *report, w io.Writer) {
	var group errgroup.Group
	if !s.together {
		group.SetLimit(1)
	}
	for _, c := range s.casts {
		group.Go(func() error {
			result, err := l.play(ctx, c)
			if err != nil {
				result.Failed = err.Error()
			}
			r.add(w, result)
			return nil
		})
	}
	_ = group.Wait() // no error is returned
}

// settings are those of an agent, on the time scale of a simulation.
func settings() config.Config {
	c := config.Default()
	c.FollowUpSeconds = 20
	c.Defaults.TimeoutSeconds, c.Defaults.HangSeconds = 1, 4
	c.Defaults.PeriodSeconds, c.Defaults.FailureThreshold = 5, 2
	c.Storm.CooldownSeconds = 5
	c.Backoff = config.Backoff{InitialSeconds: 1, MaxSeconds: 5, ForgetSeconds: 5, MaxAttempts: 20}
	return c
}

// The guards that a storm is played with.
const (
	guarded = "all guards"         // as by default
	blind   = "no look at backend" // only what removals teach
	bare    = "no guard"           // thresholds and budgets at their maximum
)

func guards() []string { return []string{guarded, blind, bare} }

// guard sets what guards there are.
func guard(c config.Config, which string) config.Config {
	switch which {
	case blind:
		c.CheckBackends = false
	case bare:
		c.CheckBackends = false
		c.Storm.Threshold = 600
		c.Budgets = config.Budgets{WindowSeconds: 1, Node: 600, Namespace: 600, Cluster: 600}
		c.Backoff.MaxSeconds, c.Backoff.MaxAttempts = 1, 1000
	}
	return c
}

// replicaSets adds n owners of as many pods each, of one backend or of several in turn.
func replicaSets(n, replicas int, backends ...string) func(*world.World) {
	return func(w *world.World) {
		for i := range n {
			w.Add(world.Owner{
				Namespace: w.Namespace(i), Name: fmt.Sprintf("app-%d", i), Kind: world.ReplicaSet, Replicas: replicas, Backend: backends[i%len(backends)],
			})
		}
	}
}

// size is how large a storm is. One machine is the API server, its store, and all nodes: what hundreds of them tell at once, and how many
// pods it can replace a second, is bounded by that.
type size struct {
	nodes, owners, replicas int
	budget                  int // of the cluster in a window
	outage                  time.Duration
	within                  time.Duration
	told                    time.Duration // cast.toldWithin
}

func (o options) size() size {
	if o.Short {
		return size{nodes: 20, owners: 24, replicas: 5, budget: 200, outage: 4 * time.Second, within: time.Minute, told: 30 * time.Second}
	}
	return size{nodes: o.Nodes, owners: 2 * o.Nodes, replicas: 5, budget: 200, outage: 30 * time.Second, within: 15 * time.Minute, told: 2 * time.Minute}
}

// variants makes a cast for each set of guards.
func (o options) variants(name string, prepare func(z size, c *cast)) (casts []cast) {
	z := o.size()
	for i, which := range guards() {
		c := cast{name: fmt.Sprintf("%s-%d", name, i), guard: which, nodes: z.nodes, namespaces: 4, config: settings(), within: z.within, toldWithin: z.told}
		c.config.Budgets = config.Budgets{WindowSeconds: 2, Node: z.budget / 2, Namespace: z.budget / 2, Cluster: z.budget}
		c.config = guard(c.config, which)
		prepare(z, &c)
		casts = append(casts, c)
	}
	return casts
}
