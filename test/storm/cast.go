package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/storm/internal/agents"
	"github.com/mountwarden/mountwarden/test/storm/internal/observer"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// cast is one world, its agents and what happens to them.
type cast struct {
	name       string // starts all names
	guard      string // which guards are on, for people
	nodes      int
	namespaces int
	config     config.Config
	owners     func(*world.World)
	skew       func(node string) time.Duration
	crash      func() agents.Crash
	drama      func(context.Context, *stage) error
	within     time.Duration // after the drama until all is well
	toldWithin time.Duration // for a failure to be removed or told of; 0 is 30 s
}

func (c cast) nodeName(i int) string {
	return world.New(world.Options{Name: c.name, Nodes: c.nodes}).Node(i)
}

// stage is a cast at play.
type stage struct {
	cast
	world    *world.World
	fleet    *agents.Fleet
	observer *observer.Observer
	rand     *rand.Rand
	failures int
}

// play plays the cast from an empty world until all is well again, and returns what was seen.
func (l *lab) play(ctx context.Context, c cast) (result, error) {
	s := l.stage(c)
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer cancel()
		return s.act(ctx, group)
	})
	err := group.Wait()
	r := result{Scenario: c.name, Guard: c.guard, Nodes: c.nodes, Failures: s.failures, Summary: s.observer.Summary(), Crashes: s.fleet.Crashes()}
	return r, err
}

func (l *lab) stage(c cast) *stage {
	s := &stage{cast: c, rand: rand.New(rand.NewPCG(l.Seed, 2))}
	s.world = world.New(world.Options{
		Client: l.api.Client, Name: c.name, Nodes: c.nodes, Namespaces: c.namespaces, Start: 300 * time.Millisecond, Grace: 500 * time.Millisecond,
		Workers: 12, Seed: l.Seed, Skew: c.skew,
	})
	c.config.Namespace = s.world.Namespace(0)
	s.fleet = agents.New(agents.Options{
		World: s.world, Config: c.config, Restart: 300 * time.Millisecond, Log: l.log, Skew: c.skew, Crash: c.crash,
		Connect: func(node string) *rest.Config { return l.api.As(observer.AgentPrefix + node) },
	})
	s.observer = observer.New(observer.Options{
		Client: l.api.Client, Audit: l.audit, Label: world.Label + "=" + c.name, Namespaces: s.namespaceNames(), Limits: c.limits(),
	})
	return s
}

func (c cast) limits() observer.Limits {
	b := c.config.Budgets
	told := c.toldWithin
	if told == 0 {
		told = 30 * time.Second
	}
	return observer.Limits{
		Window: b.Window(), Node: b.Node, Namespace: b.Namespace, Cluster: b.Cluster,
		FollowUp: time.Duration(c.config.FollowUpSeconds) * time.Second, ToldWithin: told,
	}
}

func (s *stage) namespaceNames() (names []string) {
	for i := range s.namespaces {
		names = append(names, s.world.Namespace(i))
	}
	return names
}

// act makes the world, lets the agents in, and waits for the end of the drama.
func (s *stage) act(ctx context.Context, group *errgroup.Group) error {
	if err := s.world.Found(ctx); err != nil {
		return err
	}
	for _, start := range []func(context.Context, chan<- struct{}) error{s.observer.Run, s.world.Run} {
		if err := ready(ctx, group, start); err != nil {
			return err
		}
	}
	s.owners(s.world)
	if err := s.settle(ctx, 5*time.Minute); err != nil {
		return fmt.Errorf("make the pods: %w", err)
	}
	fleet, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.fleet.Run(fleet) }()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	s.observer.Quiet()
	err := s.drama(ctx, s)
	if err == nil {
		err = s.settle(ctx, s.within)
	}
	stop()
	return errors.Join(err, <-ended, pause(ctx, time.Second)) // the observer may be a moment behind
}

// ready starts something that runs as long as the stage, and waits until it is ready.
func ready(ctx context.Context, group *errgroup.Group, start func(context.Context, chan<- struct{}) error) error {
	done := make(chan struct{})
	group.Go(func() error { return start(ctx, done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle waits until all pods of the world are there and healthy.
func (s *stage) settle(ctx context.Context, within time.Duration) error {
	deadline := time.After(within)
	for {
		n := s.world.Unsettled()
		if n == 0 {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("after %s there are still %d pods that are not well", within, n)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pause waits, unless the play ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
