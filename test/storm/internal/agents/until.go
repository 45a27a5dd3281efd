package agents

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

// follower stands in for the follow-up until that is there.
type follower struct {
	i      *incarnation
	store  *ledger.Store
	queue  chan ledger.Entry
	cancel func()
}

func (i *incarnation) follow(store *ledger.Store) follower {
	return follower{i: i, store: store, queue: make(chan ledger.Entry, 10000)}
}

// Follow implements remediate.Follower.
func (f follower) Follow(e ledger.Entry, _ *corev1.Pod) {
	e.At = f.store.Now()
	f.queue <- e
}

func (f follower) run(ctx context.Context) {
	pending, _ := f.store.Pending(ctx)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.queue:
			pending = append(pending, e)
		case <-tick.C:
		}
		var left []ledger.Entry
		for _, e := range pending {
			var err error
			switch age := f.store.Now().Sub(e.At); {
			case f.i.agent.fleet.World.Succeeded(e.Namespace, e.Owner.Name, e.PodUID):
				err = f.store.Close(ctx, e.PodUID, controllers.AftermathHealed)
			case age > time.Duration(f.i.config.FollowUpSeconds)*time.Second:
				err = f.store.Close(ctx, e.PodUID, controllers.AftermathStuckCreating)
			default:
				left = append(left, e)
			}
			if err != nil {
				left = append(left, e)
			}
		}
		pending = left
	}
}

// completing fills in what the reconciler does not yet.
type completing struct {
	podmount.Remediator
	i *incarnation
}

// Remediate implements podmount.Remediator.
func (c *completing) Remediate(ctx context.Context, req controllers.Request) controllers.Result {
	if req.Look.UID == "" {
		backend := func(p *corev1.Pod) probes.Backend {
			return probes.Backend{Kind: probes.BackendCSI, Name: p.Spec.Volumes[0].CSI.Driver}
		}
		req.Look = probes.Pod{UID: string(req.Pod.UID), Containers: req.Policy.Containers}
		req.Volume = probes.Volume{Backend: backend(req.Pod), PodUID: string(req.Pod.UID)}
		req.Mounts = c.i.reconciler.Statuses()
		for i, s := range req.Mounts {
			p := &corev1.Pod{}
			if c.i.agent.cache.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: s.Pod}, p) == nil {
				req.Mounts[i].PodUID, req.Mounts[i].Backend, req.Mounts[i].Mode = p.UID, backend(p), req.Policy.Mode
			}
		}
	}
	return c.Remediator.Remediate(ctx, req)
}
