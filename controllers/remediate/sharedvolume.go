package remediate

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// checkSharedVolumes refuses while another pod would keep a broken mount in use. The kubelet stages
// a CSI volume once for each node, and unstages it only when no pod there uses it any more (CSI
// spec, NodeStageVolume). A new pod would get the broken mount again. So all pods that use it are
// evicted together, or none is.
func (r *Remediator) checkSharedVolumes(ctx context.Context, a *attempt) *controllers.Result {
	for _, v := range a.brokenVolumes() {
		if refusal := r.checkConsumers(ctx, a, v); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkConsumers is checkSharedVolumes for one volume.
func (r *Remediator) checkConsumers(ctx context.Context, a *attempt, v probes.Volume) *controllers.Result {
	if v.Device == "" {
		return nil
	}
	who := r.Node.Consumers(v.Device)
	if who.Unknown {
		return newNotConfirmed("the host's mount table cannot be read, and so who else uses the volume is not known")
	}
	if who.Staged == "" {
		return nil
	}
	a.ask.Case = cmp.Or(a.ask.Case, v.Device)
	pods := &corev1.PodList{}
	if err := r.Cached.List(ctx, pods); err != nil {
		return r.newReadFailure("list the pods of the node", err)
	}
	for _, uid := range who.PodUIDs {
		if uid == v.PodUID {
			continue
		}
		if why := r.describeBlockingPeer(uid, pods.Items, a.Mounts, v.Device); why != "" {
			return newHeldFor(backendRetry, controllers.HeldSharedVolume, fmt.Sprintf("the node has mounted the volume once, at %s, for several pods, "+
				"and it is only mounted anew when all of them are gone: %s", clipDetail(who.Staged), why))
		}
	}
	return nil
}

// describeBlockingPeer says why the pod with that directory stays and keeps the mount in use; ""
// when it does not.
func (r *Remediator) describeBlockingPeer(uid string, pods []corev1.Pod, mounts []controllers.Status, device string) string {
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool {
		return string(p.UID) == uid || p.Annotations[corev1.MirrorPodAnnotationKey] == uid
	})
	if i < 0 {
		return fmt.Sprintf("one with the UID %s is unknown to the API server", uid)
	}
	p, name := &pods[i], client.ObjectKeyFromObject(&pods[i]).String()
	if p.DeletionTimestamp != nil {
		return ""
	}
	peerIndex := slices.IndexFunc(mounts, func(s controllers.Status) bool {
		return s.FolderUID == uid && s.Mount.Observation.Device == device
	})
	if peerIndex < 0 {
		return fmt.Sprintf("pod %s is not watched: annotate it with %s, or remove it yourself", name, config.AnnotationWatch)
	}
	switch peer := mounts[peerIndex]; {
	case peer.Mode != config.ModeRemediate:
		return fmt.Sprintf("pod %s is in mode %s", name, peer.Mode)
	case peer.Mount.Phase != verdict.Failed:
		return fmt.Sprintf("the mount of pod %s is not confirmed as failed yet", name)
	case peer.Held == controllers.HeldBudget && !r.mayDeleteBlocked(peer.Mount.Failure().Definitive):
		return fmt.Sprintf("a PodDisruptionBudget allows no eviction of pod %s", name)
	case isLongHold(peer.Held):
		return fmt.Sprintf("pod %s stays for the reason %s: see its events", name, peer.Held)
	}
	return r.describePermanentHold(p, name)
}

// isLongHold reports whether a pod that is held for the reason may stay until somebody acts, or for
// hours.
func isLongHold(h controllers.Held) bool {
	return slices.Contains([]controllers.Held{
		controllers.HeldJobWouldFail, controllers.HeldGaveUp, controllers.HeldBudgetConflict, controllers.HeldBackoff,
	}, h)
}

// describePermanentHold says why a pod is never evicted, whether its eviction was requested already
// or not.
func (r *Remediator) describePermanentHold(p *corev1.Pod, name string) string {
	policy, err := config.ParsePolicy(p, r.Config)
	if err != nil {
		return fmt.Sprintf("the annotations of pod %s are not valid: %v", name, err)
	}
	if refusal := checkRecreated(p, policy); refusal != nil {
		return fmt.Sprintf("pod %s stays: %s", name, refusal.Message)
	}
	return ""
}
