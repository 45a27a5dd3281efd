package remediate

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// pausedRetry is how soon a paused pod asks again, from the cache.
const pausedRetry = 5 * time.Second

// checkPaused refuses while an annotation of the pod's namespace or of this node asks for it.
func (r *Remediator) checkPaused(ctx context.Context, a *attempt) *controllers.Result {
	for _, o := range []struct {
		kind string
		key  client.ObjectKey
	}{{"Namespace", client.ObjectKey{Name: a.Pod.Namespace}}, {"Node", client.ObjectKey{Name: r.Config.NodeName}}} {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(o.kind))
		if err := r.Cached.Get(ctx, o.key, object); err != nil {
			return r.newReadFailure(fmt.Sprintf("read the %s %s", o.kind, o.key.Name), err)
		}
		if why, set := object.Annotations[config.AnnotationPaused]; set {
			return newHeldFor(pausedRetry, controllers.HeldPaused, fmt.Sprintf("paused by the annotation %s of the %s %s: %q", config.AnnotationPaused, o.kind, o.key.Name, why))
		}
	}
	return nil
}

const (
	leaveTimeout = 10 * time.Second // for the kubelet and the endpoints to remove the pod from its Services
	leaveDelay   = time.Second      // from not ready to out of the endpoints
	leaveRetry   = 500 * time.Millisecond
)

// checkServicesLeft refuses, for a moment, until a pod with our readiness gate has become unready
// and so has left its Services. From then on no client notices that it ends.
func (r *Remediator) checkServicesLeft(_ context.Context, a *attempt) *controllers.Result {
	gated := slices.ContainsFunc(a.Pod.Spec.ReadinessGates, func(g corev1.PodReadinessGate) bool {
		return g.ConditionType == controllers.ConditionMountsHealthy
	})
	reason, _ := a.Decision.Reason()
	if !gated || r.Now().Sub(reason.Confirmed) > leaveTimeout || r.hasLeftServices(a.Pod) {
		return nil
	}
	return newHeldFor(leaveRetry, controllers.HeldLeavingService, "the pod is not ready any more and leaves its Services first")
}

// hasLeftServices reports whether the pod has been unready for long enough to be out of the
// endpoints.
func (r *Remediator) hasLeftServices(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse && r.Now().Sub(c.LastTransitionTime.Time) >= leaveDelay
	})
}

// backendRetry is how soon the backend is asked again at the earliest. The longer it has been away,
// the less often it is asked.
const backendRetry = 2 * time.Second

// checkBackendsReady refuses while a fresh mount of any broken volume would fail: a pod that runs
// with a broken mount would be replaced by one that never starts.
func (r *Remediator) checkBackendsReady(ctx context.Context, a *attempt) *controllers.Result {
	if !r.Config.CheckBackends {
		return nil
	}
	for _, v := range a.brokenVolumes() {
		f := r.Node.CheckReadiness(ctx, v)
		if f.Readiness != probes.NotReady || v.Backend.Kind == probes.BackendNFS && hasHealthySibling(a, v) {
			continue
		}
		reason, _ := a.Decision.Reason()
		wait := min(max(backendRetry, r.Now().Sub(reason.Since)/8), 15*time.Second)
		return newHeldFor(wait, controllers.HeldNoFreshMount, fmt.Sprintf("a fresh mount would fail: %s; the pod is removed as soon as one can succeed", clipDetail(f.Detail)))
	}
	return nil
}

// brokenVolumes returns the volume that is the reason, and after it the others whose mounts are
// broken.
func (a *attempt) brokenVolumes() (all []probes.Volume) {
	for _, v := range append([]probes.Volume{a.Volume}, a.Others...) {
		if !slices.Contains(all, v) { // several containers may have mounted it
			all = append(all, v)
		}
	}
	return all
}

// hasHealthySibling reports whether another pod of the node has a healthy mount of the same source.
// Whatever keeps the agent from the server, such as a NetworkPolicy, does not keep the node from
// it.
func hasHealthySibling(a *attempt, v probes.Volume) bool {
	return v.Source != "" && slices.ContainsFunc(a.Mounts, func(s controllers.Status) bool {
		return s.PodUID != a.Pod.UID && s.Mount.Phase == verdict.Healthy && s.Mount.Unseen == 0 && s.Mount.Observation.Source == v.Source
	})
}

// countFailing counts the pods of the node that have a failed mount of the backend. Pods that may
// recover, and wait for that, do not hold one that cannot.
func countFailing(mounts []controllers.Status, b probes.Backend, cause probes.Cause) int {
	pods := map[any]bool{}
	for _, s := range mounts {
		counts := cause.Recoverable() || !s.Mount.Observation.Cause.Recoverable()
		if s.Backend == b && s.Mount.Phase == verdict.Failed && counts {
			pods[s.PodUID] = true
		}
	}
	return len(pods)
}

// maxClause bounds untrusted text, in bytes.
const maxClause = 200

func clipDetail(text string) string {
	if len(text) > maxClause {
		return text[:maxClause] + "…"
	}
	return text
}
