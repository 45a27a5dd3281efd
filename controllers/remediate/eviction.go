package remediate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// blockedRetry is how soon a refused eviction is tried again if the API server does not say.
const blockedRetry = 5 * time.Second

// evictOrDelete asks the API server to evict or delete the pod, while the reservation is valid.
func (r *Remediator) evictOrDelete(ctx context.Context, a *attempt) controllers.Result {
	ctx, cancel := context.WithTimeout(ctx, min(callTimeout, a.reservedUntil.Sub(r.Now())))
	defer cancel()
	if a.policy.Action == config.ActionDelete {
		return r.deletePod(ctx, a)
	}
	return r.evictPod(ctx, a)
}

// mayHaveHappened reports whether the API server may have done what it answered with an error, or
// not answered at all.
func mayHaveHappened(err error) bool {
	var status apierrors.APIStatus
	return err != nil && !isBudgetConflict(err) && (!errors.As(err, &status) || status.Status().Code >= http.StatusInternalServerError)
}

// evictPod requests an eviction and turns each answer of the API server into a Result.
func (r *Remediator) evictPod(ctx context.Context, a *attempt) controllers.Result {
	err := r.postEviction(ctx, a.live)
	a.mayBeRemoved = mayHaveHappened(err)
	result := controllers.Result{Action: config.ActionEvict}
	switch {
	case err == nil:
		result.Outcome, result.Message = controllers.OutcomeEvicted, "evicted, so that its successor gets fresh mounts"
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		result.Outcome, result.Message = controllers.OutcomeGone, "the pod is gone or was replaced in the meantime"
	case apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause): // any other 429 is from a busy API server
		return r.handleBlocked(ctx, a, err)
	case isBudgetConflict(err):
		result.Outcome, result.Held = controllers.OutcomeHeld, controllers.HeldBudgetConflict
		result.Message = "more than one PodDisruptionBudget selects the pod, which the API server cannot evict: leave it only one"
	default:
		result = r.newRemovalFailure("evict the pod", err)
		result.Action = config.ActionEvict
	}
	return result
}

// postEviction sends the eviction without client-go's own retries, which would sleep on Retry-After
// inside the call.
func (r *Remediator) postEviction(ctx context.Context, live *corev1.Pod) error {
	eviction := &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: live.Namespace, Name: live.Name},
		DeleteOptions: &metav1.DeleteOptions{
			Preconditions:      metav1.NewUIDPreconditions(string(live.UID)),
			GracePeriodSeconds: overrideGrace(live),
		},
	}
	return r.Client.CoreV1().RESTClient().Post().
		Namespace(live.Namespace).Resource("pods").Name(live.Name).SubResource("eviction").
		VersionedParams(&metav1.CreateOptions{}, scheme.ParameterCodec).
		MaxRetries(0).Body(eviction).Do(ctx).Error()
}

// handleBlocked handles a PodDisruptionBudget that allows no eviction now. A pod with a dead mount
// is often still Ready, and counts in the very budget that blocks it. So for a permanent cause the
// pod is deleted after blockedSeconds.
func (r *Remediator) handleBlocked(ctx context.Context, a *attempt, err error) controllers.Result {
	limit := time.Duration(r.Config.BlockedSeconds) * time.Second
	untilDelete := limit
	if !a.BlockedSince.IsZero() {
		untilDelete = limit - r.Now().Sub(a.BlockedSince)
	}
	mayDelete := r.mayDeleteBlocked(a.Decision.Definitive())
	if mayDelete && untilDelete <= 0 {
		return r.deletePod(ctx, a)
	}
	result := controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, RetryAfter: suggestedDelay(err)}
	result.Message = "a PodDisruptionBudget allows no eviction now; it is asked again until it does"
	if mayDelete {
		result.RetryAfter = min(result.RetryAfter, untilDelete)
		result.Message = fmt.Sprintf("a PodDisruptionBudget allows no eviction now; the pod is deleted %s after the first refusal", limit)
	}
	return result
}

// mayDeleteBlocked reports whether a pod is deleted after a PodDisruptionBudget has blocked its
// eviction for long.
func (r *Remediator) mayDeleteBlocked(definitive bool) bool {
	return r.Config.BlockedSeconds > 0 && definitive && slices.Contains(r.Config.Limits.AllowedActions, config.ActionDelete)
}

// deletePod deletes the pod in spite of any budget. The resourceVersion ensures that nothing about
// the pod has changed since it passed the gates.
func (r *Remediator) deletePod(ctx context.Context, a *attempt) controllers.Result {
	live := a.live
	var err error
	if isJobPod(live) {
		if live, err = r.announceDisruption(ctx, live); err != nil {
			return r.toDeleteResult(err)
		}
	}
	err = r.Client.CoreV1().Pods(live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions:      &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
		GracePeriodSeconds: overrideGrace(live),
	})
	a.mayBeRemoved = mayHaveHappened(err)
	return r.toDeleteResult(err)
}

// toDeleteResult turns the API server's answer to a deletion into a Result.
func (r *Remediator) toDeleteResult(err error) controllers.Result {
	result := controllers.Result{Action: config.ActionDelete}
	switch {
	case err == nil:
		result.Outcome, result.Message = controllers.OutcomeDeleted, "deleted, so that its successor gets fresh mounts"
	case apierrors.IsNotFound(err):
		result.Outcome, result.Message = controllers.OutcomeGone, "the pod is gone"
	default: // also a conflict: the pod has changed, and must pass the gates again
		result = r.newRemovalFailure("delete the pod", err)
		result.Action = config.ActionDelete
	}
	return result
}

// overrideGrace returns nil, which stands for the pod's own grace period, but never 0: a forced
// deletion frees the name while the old pod may still write to the volume.
func overrideGrace(pod *corev1.Pod) *int64 {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil && *g < 1 {
		one := int64(1)
		return &one
	}
	return nil
}

// gracePeriodOf returns the grace period that the pod gets, in seconds.
func gracePeriodOf(pod *corev1.Pod) int64 {
	if g := cmp.Or(overrideGrace(pod), pod.Spec.TerminationGracePeriodSeconds); g != nil {
		return *g
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

// isBudgetConflict recognizes the API server's 500 for a pod that several budgets select. That
// error has no reason of its own.
func isBudgetConflict(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "PodDisruptionBudget")
}

// suggestedDelay returns the Retry-After of the answer, or blockedRetry.
func suggestedDelay(err error) time.Duration {
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return blockedRetry
}
