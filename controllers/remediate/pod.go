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

// manualRetry is how soon to ask again about what needs manual action.
const manualRetry = 30 * time.Second

// checkSamePod reads the pod from the API server and refuses unless it is the one that was judged,
// running and not terminating.
func (r *Remediator) checkSamePod(ctx context.Context, a *attempt) *controllers.Result {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := r.Client.CoreV1().Pods(a.Pod.Namespace).Get(ctx, a.Pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return newGone("the pod is gone")
	case err != nil:
		return r.newReadFailure("read the pod", err)
	case live.UID != a.Pod.UID:
		return newGone("another pod has taken its name")
	case live.DeletionTimestamp != nil:
		return newHeld(controllers.HeldNotRunning, "the pod is already being removed")
	case live.Status.Phase != corev1.PodRunning:
		return newHeld(controllers.HeldNotRunning, fmt.Sprintf("the pod's phase is %s, not Running", live.Status.Phase))
	}
	a.live = live
	policy, err := config.ParsePolicy(live, r.Config)
	a.policy = policy
	if err != nil {
		return newHeldFor(manualRetry, controllers.HeldReportMode, fmt.Sprintf("the pod's annotations are not valid: %v", err))
	}
	return nil
}

// checkOptedIn refuses when the live object's annotations do not ask for an eviction, or not
// because of this mount.
func checkOptedIn(_ context.Context, a *attempt) *controllers.Result {
	switch {
	case !a.policy.Watch:
		return newHeld(controllers.HeldOptedOut, "the pod's annotations no longer ask to be watched")
	case a.policy.Mode != config.ModeRemediate:
		return newReportMode(a.policy.Mode)
	case !a.policy.Watches(a.reason.Target):
		return newHeld(controllers.HeldOptedOut, "the pod's annotations no longer ask for this mount to be watched")
	}
	return nil
}

func newReportMode(m config.Mode) *controllers.Result {
	return newHeld(controllers.HeldReportMode, fmt.Sprintf("the pod is in mode %s: remove it yourself for fresh mounts", m))
}

// checkRecreatedCached refuses when an evicted pod would not be recreated, as far as the cache
// says.
func checkRecreatedCached(_ context.Context, a *attempt) *controllers.Result {
	return checkRecreated(a.Pod, a.Policy)
}

// checkRecreatedLive asks the same of the live object: the cache may be behind.
func checkRecreatedLive(_ context.Context, a *attempt) *controllers.Result {
	return checkRecreated(a.live, a.policy)
}

// checkRecreated refuses a pod that nothing would recreate.
func checkRecreated(pod *corev1.Pod, policy config.Policy) *controllers.Result {
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return newHeldFor(manualRetry, controllers.HeldStaticPod, "it is a static pod, and deleting its mirror restarts nothing: restart it on its node")
	}
	if metav1.GetControllerOf(pod) == nil && !policy.AllowUnmanaged {
		return newHeld(controllers.HeldNoController, fmt.Sprintf("no controller would make a new pod: run it under a Deployment or the like, or set %s to \"true\"",
			config.AnnotationAllowUnmanaged))
	}
	return nil
}

// checkJobRetries refuses when the Job would count the eviction as one failure too many, and so
// would end instead of creating a new pod.
func (r *Remediator) checkJobRetries(ctx context.Context, a *attempt) *controllers.Result {
	owner := metav1.GetControllerOf(a.live)
	if owner == nil || owner.Kind != "Job" || owner.APIVersion != batchv1.SchemeGroupVersion.String() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	job, err := r.Client.BatchV1().Jobs(a.live.Namespace).Get(ctx, owner.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return newHeldFor(manualRetry, controllers.HeldNoController, fmt.Sprintf("its Job %s is gone", owner.Name))
	case err != nil:
		return r.newReadFailure("read the pod's Job", err)
	case job.UID != owner.UID:
		return newHeldFor(manualRetry, controllers.HeldNoController, fmt.Sprintf("its Job %s is gone, and another has its name", owner.Name))
	case !willJobRetry(job, a.live):
		return newHeldFor(manualRetry, controllers.HeldJobWouldFail, fmt.Sprintf("the Job %s allows no further failure, so that nothing would make a new pod: "+
			"raise its backoffLimit, or have the first rule of its podFailurePolicy ignore the condition DisruptionTarget", owner.Name))
	}
	return nil
}
