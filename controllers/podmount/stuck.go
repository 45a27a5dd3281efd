package podmount

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/controllers"
)

// cacheTimeout bounds a read of the cache, which waits until it is filled.
const cacheTimeout = time.Second

// PodsStuckTerminating returns how many of this node's pods that have opted in are past their grace period by more than a minute,
// whoever has removed them, and whatever this agent remembers of it.
func (r *Reconciler) PodsStuckTerminating() int {
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.UnsafeDisableDeepCopy); err != nil { // the cache is not filled yet
		return 0
	}
	n := 0
	for i := range pods.Items {
		end := pods.Items[i].DeletionTimestamp // with the grace period in it
		if end == nil || r.Now().Sub(end.Time) <= controllers.StuckAfter {
			continue
		}
		if ours, err := r.optedIn(ctx, &pods.Items[i]); err == nil && ours {
			n++
		}
	}
	return n
}
