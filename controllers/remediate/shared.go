package remediate

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
)

// shared refuses while another pod would keep a broken mount in use. The kubelet stages a CSI volume once a node and
// unstages it only when no pod there uses it any more (CSI spec, NodeStageVolume), so that a new pod would get the broken mount
// again. All who use it are one case: they are removed together, or none is.
func (r *Remediator) shared(ctx context.Context, a *attempt) *controllers.Result {
	if a.Volume.Device == "" {
		return nil
	}
	who := r.Node.Consumers(a.Volume.Device)
	if who.Staged == "" {
		return nil
	}
	a.ask.Case = a.Volume.Device
	pods := &corev1.PodList{}
	if err := r.Cached.List(ctx, pods); err != nil {
		return r.failed("list the pods of the node", err)
	}
	for _, uid := range who.PodUIDs {
		if uid == a.Volume.PodUID {
			continue
		}
		if why := keeps(uid, pods.Items, a); why != "" {
			return heldFor(freshRetry, controllers.HeldSharedVolume, fmt.Sprintf("the node has mounted the volume once, at %s, for several pods, "+
				"and it is only mounted anew when all of them are gone: %s", clip(who.Staged), why))
		}
	}
	return nil
}

// keeps says why the pod with that folder stays and keeps the mount in use; "" when it does not.
func keeps(uid string, pods []corev1.Pod, a *attempt) string {
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
	judged := slices.IndexFunc(a.Mounts, func(s controllers.Status) bool {
		return s.FolderUID == uid && s.Mount.Observation.Device == a.Volume.Device
	})
	switch {
	case judged < 0:
		return fmt.Sprintf("pod %s is not watched: annotate it with %s, or remove it yourself", name, config.AnnotationWatch)
	case a.Mounts[judged].Mode != config.ModeRemediate:
		return fmt.Sprintf("pod %s is in mode %s", name, a.Mounts[judged].Mode)
	case a.Mounts[judged].Mount.Phase != verdict.Failed:
		return fmt.Sprintf("the mount of pod %s is not confirmed as failed yet", name)
	}
	return ""
}
