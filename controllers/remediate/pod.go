package remediate

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// personRetry is how soon to ask again for what only a person can change.
const personRetry = 30 * time.Second

// samePod reads the pod from the API server and refuses unless it is the one that was judged, up and not ending.
func (r *Remediator) samePod(ctx context.Context, a *attempt) *controllers.Result {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := r.Client.CoreV1().Pods(a.Pod.Namespace).Get(ctx, a.Pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return gone("the pod is gone")
	case err != nil:
		return r.failed("read the pod", err)
	case live.UID != a.Pod.UID:
		return gone("another pod has taken its name")
	case live.DeletionTimestamp != nil:
		return held(controllers.HeldNotRunning, "the pod is already being removed")
	case live.Status.Phase != corev1.PodRunning:
		return held(controllers.HeldNotRunning, fmt.Sprintf("the pod's phase is %s, not Running", live.Status.Phase))
	}
	a.live = live
	policy, err := config.ParsePolicy(live, r.Config)
	a.policy = policy
	if err != nil {
		return heldFor(personRetry, controllers.HeldReportMode, fmt.Sprintf("the pod's annotations are not valid: %v", err))
	}
	return nil
}

// optedIn refuses when the live object's annotations do not ask for a removal, or not for this mount's sake.
func optedIn(_ context.Context, a *attempt) *controllers.Result {
	switch {
	case !a.policy.Watch:
		return held(controllers.HeldOptedOut, "the pod's annotations no longer ask to be watched")
	case a.policy.Mode != config.ModeRemediate:
		return reportOnly(a.policy.Mode)
	case !a.policy.Watches(a.reason.Target):
		return held(controllers.HeldOptedOut, "the pod's annotations no longer ask for this mount to be watched")
	}
	return nil
}

func reportOnly(m config.Mode) *controllers.Result {
	return held(controllers.HeldReportMode, fmt.Sprintf("the pod is in mode %s: remove it yourself for fresh mounts", m))
}

// comesBack refuses when removing the pod would bring no new one, as far as the cache tells.
func comesBack(_ context.Context, a *attempt) *controllers.Result {
	return wouldReturn(a.Pod, a.Policy)
}

// comesBackLive is comesBack as the API server tells: the cache may be behind.
func comesBackLive(_ context.Context, a *attempt) *controllers.Result {
	return wouldReturn(a.live, a.policy)
}

func wouldReturn(pod *corev1.Pod, policy config.Policy) *controllers.Result {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return heldFor(personRetry, controllers.HeldStaticPod, "it is a static pod, and deleting its mirror restarts nothing: restart it on its node")
	}
	if metav1.GetControllerOf(pod) == nil && !policy.AllowUnmanaged {
		return held(controllers.HeldNoController, fmt.Sprintf("no controller would make a new pod: run it under a Deployment or the like, or set %s to \"true\"",
			config.AnnotationAllowUnmanaged))
	}
	return nil
}

// jobGoesOn refuses when the Job counts the removal as one failure too many, and so would end instead of making a new pod.
func (r *Remediator) jobGoesOn(ctx context.Context, a *attempt) *controllers.Result {
	owner := metav1.GetControllerOf(a.live)
	if owner == nil || owner.Kind != "Job" || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	job, err := r.Client.BatchV1().Jobs(a.live.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return heldFor(personRetry, controllers.HeldNoController, fmt.Sprintf("its Job %s is gone", owner.Name))
	case err != nil:
		return r.failed("read the pod's Job", err)
	case job.UID != owner.UID:
		return heldFor(personRetry, controllers.HeldNoController, fmt.Sprintf("its Job %s is gone, and another has its name", owner.Name))
	case !retries(job, a.live):
		return heldFor(personRetry, controllers.HeldJobWouldFail, fmt.Sprintf("the Job %s allows no further failure, so that nothing would make a new pod: "+
			"raise its backoffLimit, or have the first rule of its podFailurePolicy ignore the condition DisruptionTarget", owner.Name))
	}
	return nil
}
