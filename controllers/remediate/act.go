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

// blockedRetry is how soon a refused eviction is tried again when the API server does not say.
const blockedRetry = 5 * time.Second

// act asks the API server for the removal. The reservation it rests on does not hold for ever.
func (r *Remediator) act(ctx context.Context, a *attempt) controllers.Result {
	ctx, cancel := context.WithTimeout(ctx, min(callTimeout, a.until.Sub(r.Now())))
	defer cancel()
	if a.policy.Action == config.ActionDelete {
		return r.delete(ctx, a)
	}
	return r.evict(ctx, a)
}

// mayHaveHappened reports whether the API server may have done what it answered with an error, or not at all.
func mayHaveHappened(err error) bool {
	var status apierrors.APIStatus
	return err != nil && !severalBudgets(err) && (!errors.As(err, &status) || status.Status().Code >= http.StatusInternalServerError)
}

// evict asks for an eviction and gives each answer of the API server its own branch.
func (r *Remediator) evict(ctx context.Context, a *attempt) controllers.Result {
	err := r.postEviction(ctx, a.live)
	a.unsure = mayHaveHappened(err)
	result := controllers.Result{Action: config.ActionEvict}
	switch {
	case err == nil:
		result.Outcome, result.Message = controllers.OutcomeEvicted, "evicted, so that its successor gets fresh mounts"
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		result.Outcome, result.Message = controllers.OutcomeGone, "the pod is gone or was replaced in the meantime"
	case apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause): // other 429s are a busy API server's
		return r.blocked(ctx, a, err)
	case severalBudgets(err):
		result.Outcome, result.Held = controllers.OutcomeHeld, controllers.HeldBudgetConflict
		result.Message = "more than one PodDisruptionBudget selects the pod, which the API server cannot evict: leave it only one"
	default:
		result = r.refused("evict the pod", err)
		result.Action = config.ActionEvict
	}
	return result
}

// postEviction sends the eviction without client-go's own retries, which would sleep on Retry-After inside
// the call.
func (r *Remediator) postEviction(ctx context.Context, live *corev1.Pod) error {
	eviction := &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Namespace: live.Namespace, Name: live.Name},
		DeleteOptions: &metav1.DeleteOptions{
			Preconditions:      metav1.NewUIDPreconditions(string(live.UID)),
			GracePeriodSeconds: grace(live),
		},
	}
	return r.Client.CoreV1().RESTClient().Post().
		Namespace(live.Namespace).Resource("pods").Name(live.Name).SubResource("eviction").
		VersionedParams(&metav1.CreateOptions{}, scheme.ParameterCodec).
		MaxRetries(0).Body(eviction).Do(ctx).Error()
}

// blocked handles a PodDisruptionBudget that allows no eviction now. A pod with a dead mount is often still Ready and
// eats the very budget that it is blocked by, so a definitive cause wins after blockedSeconds.
func (r *Remediator) blocked(ctx context.Context, a *attempt, err error) controllers.Result {
	limit := time.Duration(r.Config.BlockedSeconds) * time.Second
	left := limit
	if !a.BlockedSince.IsZero() {
		left = limit - r.Now().Sub(a.BlockedSince)
	}
	mayDelete := r.deletesBlocked(a.Decision.Definitive())
	if mayDelete && left <= 0 {
		return r.delete(ctx, a)
	}
	result := controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, RetryAfter: retryAfter(err)}
	result.Message = "a PodDisruptionBudget allows no eviction now; it is asked again until it does"
	if mayDelete {
		result.RetryAfter = min(result.RetryAfter, left)
		result.Message = fmt.Sprintf("a PodDisruptionBudget allows no eviction now; the pod is deleted %s after the first refusal", limit)
	}
	return result
}

// deletesBlocked reports whether a pod is deleted when a PodDisruptionBudget has refused its eviction for long.
func (r *Remediator) deletesBlocked(definitive bool) bool {
	return r.Config.BlockedSeconds > 0 && definitive && slices.Contains(r.Config.Limits.AllowedActions, config.ActionDelete)
}

// delete removes the pod past any budget. The resourceVersion makes sure that nothing about the pod has changed since
// the gates looked at it.
func (r *Remediator) delete(ctx context.Context, a *attempt) controllers.Result {
	live := a.live
	var err error
	if isOfJob(live) {
		if live, err = r.announceDisruption(ctx, live); err != nil {
			return r.deleted(err)
		}
	}
	err = r.Client.CoreV1().Pods(live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		Preconditions:      &metav1.Preconditions{UID: &live.UID, ResourceVersion: &live.ResourceVersion},
		GracePeriodSeconds: grace(live),
	})
	a.unsure = mayHaveHappened(err)
	return r.deleted(err)
}

// deleted says what the API server's answer to a deletion means.
func (r *Remediator) deleted(err error) controllers.Result {
	result := controllers.Result{Action: config.ActionDelete}
	switch {
	case err == nil:
		result.Outcome, result.Message = controllers.OutcomeDeleted, "deleted, so that its successor gets fresh mounts"
	case apierrors.IsNotFound(err):
		result.Outcome, result.Message = controllers.OutcomeGone, "the pod is gone"
	default: // a conflict too: the pod changed, and the gates are asked again
		result = r.refused("delete the pod", err)
		result.Action = config.ActionDelete
	}
	return result
}

// grace returns the pod's own grace period, which nil stands for, but never 0: a forced deletion frees the name
// while the old pod may still write to the volume.
func grace(pod *corev1.Pod) *int64 {
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil && *g < 1 {
		one := int64(1)
		return &one
	}
	return nil
}

// graceOf returns the grace period that the removal gives the pod, in seconds.
func graceOf(pod *corev1.Pod) int64 {
	if g := cmp.Or(grace(pod), pod.Spec.TerminationGracePeriodSeconds); g != nil {
		return *g
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

// severalBudgets recognises the API server's 500 for a pod that several budgets select. It has no reason of its own.
func severalBudgets(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "PodDisruptionBudget")
}

func retryAfter(err error) time.Duration {
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return blockedRetry
}
