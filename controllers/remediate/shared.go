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

// shared refuses while another pod would keep a broken mount in use. The kubelet stages a CSI volume once a node and
// unstages it only when no pod there uses it any more (CSI spec, NodeStageVolume), so that a new pod would get the broken mount
// again. All who use it are one case: they are removed together, or none is.
func (r *Remediator) shared(ctx context.Context, a *attempt) *controllers.Result {
	for _, v := range a.broken() {
		if refusal := r.sharedVolume(ctx, a, v); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (r *Remediator) sharedVolume(ctx context.Context, a *attempt, v probes.Volume) *controllers.Result {
	if v.Device == "" {
		return nil
	}
	who := r.Node.Consumers(v.Device)
	if who.Unknown {
		return notConfirmed("the host's mount table cannot be read, and so who else uses the volume is not known")
	}
	if who.Staged == "" {
		return nil
	}
	a.ask.Case = cmp.Or(a.ask.Case, v.Device)
	pods := &corev1.PodList{}
	if err := r.Cached.List(ctx, pods); err != nil {
		return r.failed("list the pods of the node", err)
	}
	for _, uid := range who.PodUIDs {
		if uid == v.PodUID {
			continue
		}
		if why := r.keeps(uid, pods.Items, a.Mounts, v.Device); why != "" {
			return heldFor(freshRetry, controllers.HeldSharedVolume, fmt.Sprintf("the node has mounted the volume once, at %s, for several pods, "+
				"and it is only mounted anew when all of them are gone: %s", clip(who.Staged), why))
		}
	}
	return nil
}

// keeps says why the pod with that folder stays and keeps the mount in use; "" when it does not.
func (r *Remediator) keeps(uid string, pods []corev1.Pod, mounts []controllers.Status, device string) string {
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
	judged := slices.IndexFunc(mounts, func(s controllers.Status) bool {
		return s.FolderUID == uid && s.Mount.Observation.Device == device
	})
	if judged < 0 {
		return fmt.Sprintf("pod %s is not watched: annotate it with %s, or remove it yourself", name, config.AnnotationWatch)
	}
	switch peer := mounts[judged]; {
	case peer.Mode != config.ModeRemediate:
		return fmt.Sprintf("pod %s is in mode %s", name, peer.Mode)
	case peer.Mount.Phase != verdict.Failed:
		return fmt.Sprintf("the mount of pod %s is not confirmed as failed yet", name)
	case peer.Held == controllers.HeldBudget && !r.deletesBlocked(peer.Mount.Failure().Definitive):
		return fmt.Sprintf("a PodDisruptionBudget allows no eviction of pod %s", name)
	case staysForLong(peer.Held):
		return fmt.Sprintf("pod %s stays for the reason %s: see its events", name, peer.Held)
	}
	return r.staysForGood(p, name)
}

// staysForLong reports whether a pod that was held for the reason may stay until somebody acts, or for hours.
func staysForLong(h controllers.Held) bool {
	return slices.Contains([]controllers.Held{
		controllers.HeldJobWouldFail, controllers.HeldGaveUp, controllers.HeldBudgetConflict, controllers.HeldBackoff,
	}, h)
}

// staysForGood says why a pod is never removed, whether anybody has asked for that yet or not.
func (r *Remediator) staysForGood(p *corev1.Pod, name string) string {
	policy, err := config.ParsePolicy(p, r.Config)
	if err != nil {
		return fmt.Sprintf("the annotations of pod %s are not valid: %v", name, err)
	}
	if refusal := wouldReturn(p, policy); refusal != nil {
		return fmt.Sprintf("pod %s stays: %s", name, refusal.Message)
	}
	return ""
}
