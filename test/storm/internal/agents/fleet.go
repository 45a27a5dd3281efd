package agents

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// Options say which agents there are.
type Options struct {
	World   *world.World
	Config  config.Config                   // of all agents, without the node's name
	Connect func(node string) *rest.Config  // as whom an agent asks
	Skew    func(node string) time.Duration // by how much a node's clock is wrong; optional
	Crash   func() Crash                    // the end of the next incarnation of any agent; optional
	Restart time.Duration                   // from a crash to the next incarnation
	Log     logr.Logger
}

// Fleet is one agent a node.
type Fleet struct {
	Options
	agents map[string]*agent

	mu      sync.Mutex
	crashes map[string]int // by where
}

// New returns the agents of all nodes of the world. Nothing runs yet, but their caches are filled from now on: make it before the
// world runs.
func New(o Options) *Fleet {
	f := &Fleet{Options: o, agents: map[string]*agent{}, crashes: map[string]int{}}
	for i := range o.World.Nodes {
		name := o.World.Node(i)
		f.agents[name] = &agent{fleet: f, node: name, cache: newCache(name)}
	}
	o.World.OnEvent(func(e world.Event) {
		if a, ok := f.agents[e.Pod.Spec.NodeName]; ok {
			a.cache.tell(e)
		}
	})
	o.World.OnFault(func(node string, pod types.UID) {
		if a, ok := f.agents[node]; ok {
			a.announce(pod)
		}
	})
	return f
}

// Run runs all agents until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	errs := make(chan error, len(f.agents))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, a := range f.agents {
		running.Go(func() { errs <- a.run(ctx) })
	}
	running.Go(func() { f.catchUp(ctx) })
	for range f.agents {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// catchUp ends the lag of caches whose time is over.
func (f *Fleet) catchUp(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, a := range f.agents {
				a.cache.catchUp(false)
			}
		}
	}
}

// Lag has the watch of a node's agent tell nothing for a while.
func (f *Fleet) Lag(node string, d time.Duration) { f.agents[node].cache.lag(d) }

// Crashes returns how many agents have ended at which write.
func (f *Fleet) Crashes() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.crashes)
}

func (f *Fleet) crashed(where string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashes[where]++
}
