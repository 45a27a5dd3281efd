package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/storm/internal/agents"
	"github.com/mountwarden/mountwarden/test/storm/internal/world"
)

// chaos is failures without end while agents crash at any write, clocks are wrong and caches are behind.
func chaos(o options) scenario {
	worlds, failures, nodes, owners := 8, 10_000, 25, 60
	if o.Short {
		worlds, failures, nodes, owners = 2, 120, 10, 24
	}
	if o.Failures > 0 {
		failures = o.Failures
	}
	s := scenario{name: "chaos", together: true}
	for i := range worlds {
		c := cast{name: fmt.Sprintf("chaos-%d", i), guard: guarded, nodes: nodes, namespaces: 2, config: settings(), within: 3 * time.Minute}
		c.config.Budgets = config.Budgets{WindowSeconds: 10, Node: 12, Namespace: 50, Cluster: 80}
		c.owners = mixed(owners)
		c.skew, c.crash = skewed, crashing(o.Seed+uint64(i))
		c.drama = func(ctx context.Context, s *stage) error { return s.havoc(ctx, failures/worlds, o.Seed+uint64(i)) }
		s.casts = append(s.casts, c)
	}
	return s
}

// mixed adds owners of all kinds, three a backend, some of which have not opted in or only to be told of.
func mixed(n int) func(*world.World) {
	return func(w *world.World) {
		for i := range n {
			o := world.Owner{
				Namespace: w.Namespace(i), Name: fmt.Sprintf("app-%d", i), Kind: world.ReplicaSet, Replicas: 1 + i%3, Backend: fmt.Sprintf("backend-%d.csi.example", i/3),
			}
			if i%3 == 0 {
				o.Kind = world.StatefulSet
			}
			switch i % 12 {
			case 5:
				o.Annotations = map[string]string{config.AnnotationWatch: "false"}
			case 8:
				o.Annotations = map[string]string{config.AnnotationWatch: "true", config.AnnotationMode: string(config.ModeReport)}
			case 10:
				o.Annotations = map[string]string{config.AnnotationWatch: "true", config.AnnotationAction: string(config.ActionDelete)}
			}
			w.Add(o)
		}
	}
}

// skewed makes the clocks of a third of the nodes minutes fast, and those of another slow.
func skewed(node string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node)) // never fails
	minutes := time.Duration(h.Sum32()%5+1) * time.Minute
	switch h.Sum32() % 3 {
	case 0:
		return minutes
	case 1:
		return -minutes
	default:
		return 0
	}
}

// crashing ends each agent at one of its first writes.
func crashing(seed uint64) func() agents.Crash {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 3))
	return func() agents.Crash {
		mu.Lock()
		defer mu.Unlock()
		return agents.Crash{Write: 1 + random.IntN(100), After: random.IntN(2) == 0}
	}
}

// stalled is how long a play may have nothing to break: then too many pods wait for what never comes.
const stalled = 3 * time.Minute

// havoc breaks so many mounts, a few at a time.
func (s *stage) havoc(ctx context.Context, failures int, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 4))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	mending := &mending{}
	latest, last := time.Now(), s.failures
	for s.failures < failures {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if s.failures > last {
			latest, last = time.Now(), s.failures
		} else if time.Since(latest) > stalled {
			return fmt.Errorf("nothing could be broken for %s: %d of %d failures, %d pods unsettled", stalled, s.failures, failures, s.world.Unsettled())
		}
		if err := mending.due(ctx, s.world, time.Now()); err != nil {
			return err
		}
		if random.IntN(50) == 0 {
			s.fleet.Lag(s.world.Node(random.IntN(s.nodes)), time.Duration(random.IntN(5000))*time.Millisecond)
		}
		if s.world.Unsettled() > 25 {
			continue // more would only wait for the budgets
		}
		if err := s.breakOne(ctx, random, mending); err != nil {
			return err
		}
	}
	return mending.finish(ctx, s.world)
}

// seasoned is how old a pod is before it fails: its predecessor's removal has been found to help by then.
const seasoned = 4 * time.Second

// breakOne breaks one mount in one of several ways.
func (s *stage) breakOne(ctx context.Context, random *rand.Rand, m *mending) error {
	well := s.world.Pods(seasoned, func(string, string) bool { return true })
	if len(well) == 0 {
		return nil
	}
	uid := well[random.IntN(len(well))]
	s.failures++
	kind := random.IntN(20)
	if kind == 0 {
		m.later(uid, time.Duration(random.IntN(8000))*time.Millisecond)
		return s.world.Hide(ctx, uid)
	}
	cause := []probes.Cause{probes.CauseDisconnected, probes.CauseStale, probes.CauseNotMounted, probes.CauseIOError, probes.CauseHung}[min(random.IntN(8), 4)%5]
	if kind <= 3 || s.world.Stays(uid) {
		m.later(uid, time.Duration(random.IntN(3000))*time.Millisecond)
	}
	return s.world.Break(ctx, cause, uid)
}

// mending is what will be well again without anybody's help.
type mending struct {
	mend, strike []appointment
}

type appointment struct {
	at  time.Time
	pod types.UID
}

func (m *mending) later(pod types.UID, d time.Duration) {
	m.mend = append(m.mend, appointment{time.Now().Add(d), pod})
}

// slowest is for how long an agent may still be at work with a former look.
const slowest = 12 * time.Second

// due mends what is due, and strikes out what was mended long enough ago.
func (m *mending) due(ctx context.Context, w *world.World, now time.Time) error {
	for _, pod := range take(&m.mend, now) {
		w.Mend(pod)
		m.strike = append(m.strike, appointment{now.Add(slowest), pod})
	}
	return w.Strike(ctx, take(&m.strike, now)...)
}

func take(all *[]appointment, now time.Time) (due []types.UID) {
	var left []appointment
	for _, a := range *all {
		if a.at.After(now) {
			left = append(left, a)
		} else {
			due = append(due, a.pod)
		}
	}
	*all = left
	return due
}

// finish waits until all is mended and struck out.
func (m *mending) finish(ctx context.Context, w *world.World) error {
	for len(m.mend)+len(m.strike) > 0 {
		if err := m.due(ctx, w, time.Now()); err != nil {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
