package agents

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/condition"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

// completing does what the reconciler does not yet: it fills in requests, and writes the condition.
type completing struct {
	podmount.Remediator
	podmount.Prober
	i *incarnation

	mu      sync.Mutex
	written map[string]corev1.ConditionStatus
}

// Probe implements podmount.Prober.
func (c *completing) Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation {
	all := c.Prober.Probe(ctx, pod, timeout)
	status := map[probes.Health]corev1.ConditionStatus{probes.Healthy: corev1.ConditionTrue, probes.Broken: corev1.ConditionFalse}[all[0].Health]
	c.mu.Lock()
	news := status != "" && c.written[pod.UID] != status
	c.written[pod.UID] = status
	c.mu.Unlock()
	if news {
		object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: types.UID(pod.UID)}}
		_ = condition.New(c.i.client.CoreV1()).WriteCondition(ctx, object, corev1.PodCondition{
			Type: controllers.ConditionMountsHealthy, Status: status, Reason: "MountsHealthy", LastTransitionTime: metav1.NewTime(c.i.now()),
		})
	}
	return all
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
