package main

import (
	"context"
	"time"
)

const backend = "backend.csi.example"

// dead is one backend that goes down under all pods, and comes back.
func dead(o options) scenario {
	return scenario{name: "dead", together: o.Short, casts: o.variants("dead", func(z size, c *cast) {
		c.owners = replicaSets(z.owners, z.replicas, backend)
		c.drama = func(ctx context.Context, s *stage) error { return s.outage(ctx, backend, z.outage) }
	})}
}

// outage takes a backend away for a while.
func (s *stage) outage(ctx context.Context, backend string, d time.Duration) error {
	if err := s.world.Down(ctx, backend, ""); err != nil {
		return err
	}
	if err := pause(ctx, d); err != nil {
		return err
	}
	s.world.Up(backend, "")
	return nil
}

// flapping is a backend that does not stay up, until it does.
func flapping(o options) scenario {
	return scenario{name: "flapping", together: o.Short, casts: o.variants("flapping", func(z size, c *cast) {
		c.nodes, c.owners = z.nodes/5, replicaSets(z.owners/5, z.replicas, backend)
		c.drama = func(ctx context.Context, s *stage) error {
			for range 4 {
				if err := s.outage(ctx, backend, z.outage/4); err != nil {
					return err
				}
				if err := pause(ctx, z.outage/4); err != nil {
					return err
				}
			}
			return nil
		}
	})}
}

// five is five backends of which three go down, for different times.
func five(o options) scenario {
	backends := []string{"a.csi.example", "b.csi.example", "c.csi.example", "d.csi.example", "e.csi.example"}
	return scenario{name: "five", together: o.Short, casts: o.variants("five", func(z size, c *cast) {
		c.nodes, c.owners = z.nodes/2, replicaSets(z.owners/2, z.replicas, backends...)
		c.drama = func(ctx context.Context, s *stage) error {
			for _, b := range backends[:3] {
				if err := s.world.Down(ctx, b, ""); err != nil {
					return err
				}
			}
			for _, b := range backends[:3] {
				if err := pause(ctx, z.outage/3); err != nil {
					return err
				}
				s.world.Up(b, "")
			}
			return nil
		}
	})}
}

// rolling is a CSI driver that is restarted on one node after the other: each takes its mounts with it.
func rolling(o options) scenario {
	return scenario{name: "rolling", together: o.Short, casts: o.variants("rolling", func(z size, c *cast) {
		c.owners = replicaSets(z.owners, z.replicas, backend)
		c.drama = func(ctx context.Context, s *stage) error {
			step := max(1, s.nodes/50)
			for first := 0; first < s.nodes; first += step {
				if err := s.restart(ctx, backend, first, min(first+step, s.nodes)); err != nil {
					return err
				}
			}
			return nil
		}
	})}
}

// restart restarts a driver on some nodes together.
func (s *stage) restart(ctx context.Context, backend string, from, to int) error {
	for i := from; i < to; i++ {
		if err := s.world.Down(ctx, backend, s.world.Node(i)); err != nil {
			return err
		}
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	for i := from; i < to; i++ {
		s.world.Up(backend, s.world.Node(i))
	}
	return nil
}
