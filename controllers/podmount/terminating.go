package podmount

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/controllers"
)

// cacheTimeout bounds a read of the cache, which blocks until the cache is filled.
const cacheTimeout = time.Second

// PodsStuckTerminating returns how many of this node's pods that have opted in are past their grace
// period by more than controllers.StuckAfter. It does not matter who deleted them, or whether this
// agent was running then.
func (r *Reconciler) PodsStuckTerminating() int {
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.UnsafeDisableDeepCopy); err != nil { // the cache is not filled yet
		return 0
	}
	n := 0
	for i := range pods.Items {
		end := pods.Items[i].DeletionTimestamp // it includes the grace period
		if end == nil || r.Now().Sub(end.Time) <= controllers.StuckAfter {
			continue
		}
		if ours, err := r.hasOptedIn(ctx, &pods.Items[i]); err == nil && ours {
			n++
		}
	}
	return n
}
