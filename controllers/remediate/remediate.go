package remediate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
)

// callTimeout bounds each call to the API server.
const callTimeout = 5 * time.Second

// Remediator removes pods.
type Remediator struct {
	client kubernetes.Interface
	config config.Config
	now    func() time.Time
}

// New returns a Remediator that acts through client, which must not read from a cache.
func New(client kubernetes.Interface, cfg config.Config, now func() time.Time) *Remediator {
	return &Remediator{client: client, config: cfg, now: now}
}

// Remediate removes the pod of the Request if every gate lets it pass. It asks the API server at most once to remove it
// and never waits for the pod to end. A failure of the API server is a Result too: OutcomeFailed.
func (r *Remediator) Remediate(ctx context.Context, req controllers.Request) controllers.Result {
	if req.Policy.Mode != config.ModeRemediate {
		return refused(req.Policy, reportOnly(req.Policy.Mode)) // costs no call
	}
	live, refusal := r.samePod(ctx, req)
	if refusal != nil {
		return refused(req.Policy, refusal)
	}
	// What the live object asks for is what is done: a person may have changed it while the cache was behind.
	policy, err := config.ParsePolicy(live, r.config)
	if refusal := r.gates(req, live, policy, err); refusal != nil {
		return refused(policy, refusal)
	}
	if policy.Action == config.ActionDelete {
		return r.delete(ctx, live)
	}
	return r.evict(ctx, req, live)
}

// refused completes a refusal with the action that was not done.
func refused(p config.Policy, refusal *controllers.Result) controllers.Result {
	refusal.Action = cmp.Or(p.Action, config.ActionEvict)
	return *refusal
}

// gates asks in order what the live object and its policy can answer, and returns the first refusal.
func (r *Remediator) gates(req controllers.Request, live *corev1.Pod, policy config.Policy, invalid error) *controllers.Result {
	return cmp.Or(optedIn(req, policy, invalid), comesBack(live, policy), r.mayAct(policy))
}

// samePod reads the pod from the API server and refuses unless it is the one that was judged, up and not ending.
func (r *Remediator) samePod(ctx context.Context, req controllers.Request) (*corev1.Pod, *controllers.Result) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	live, err := r.client.CoreV1().Pods(req.Pod.Namespace).Get(ctx, req.Pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, gone("the pod is gone")
	case err != nil:
		return nil, failed("read the pod", err)
	case live.UID != req.Pod.UID:
		return nil, gone("another pod has taken its name")
	case live.DeletionTimestamp != nil:
		return nil, held(controllers.HeldNotRunning, "the pod is already being removed")
	case live.Status.Phase != corev1.PodRunning:
		return nil, held(controllers.HeldNotRunning, fmt.Sprintf("the pod's phase is %s, not Running", live.Status.Phase))
	}
	return live, nil
}

// optedIn refuses when the live object's annotations do not ask for a removal, or not for this mount's sake.
func optedIn(req controllers.Request, policy config.Policy, invalid error) *controllers.Result {
	reason, _ := req.Decision.Reason()
	switch {
	case invalid != nil:
		return held(controllers.HeldReportMode, fmt.Sprintf("the pod's annotations are not valid: %v", invalid))
	case !policy.Watch:
		return held(controllers.HeldOptedOut, "the pod's annotations no longer ask to be watched")
	case policy.Mode != config.ModeRemediate:
		return reportOnly(policy.Mode)
	case !policy.Watches(reason.Observation.Target):
		return held(controllers.HeldOptedOut, "the pod's annotations no longer ask for this mount to be watched")
	}
	return nil
}

func reportOnly(mode config.Mode) *controllers.Result {
	return held(controllers.HeldReportMode, fmt.Sprintf("the pod is in mode %s: remove it yourself for fresh mounts", mode))
}

// comesBack refuses when removing the pod would bring no new one.
func comesBack(live *corev1.Pod, policy config.Policy) *controllers.Result {
	if _, mirror := live.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return held(controllers.HeldStaticPod, "it is a static pod, and deleting its mirror restarts nothing: restart it on its node")
	}
	if metav1.GetControllerOf(live) == nil && !policy.AllowUnmanaged {
		return held(controllers.HeldNoController, fmt.Sprintf("no controller would make a new pod: run it under a Deployment or the like, or set %s to \"true\"", config.AnnotationAllowUnmanaged))
	}
	return nil
}

// mayAct comes last, so that a dry run says what every other gate would have said.
func (r *Remediator) mayAct(policy config.Policy) *controllers.Result {
	if r.config.DryRun {
		return held(controllers.HeldDryRun, fmt.Sprintf("the agent runs with dryRun; it would %s the pod now", strings.ToLower(string(policy.Action))))
	}
	return nil
}

func held(reason controllers.Held, message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeHeld, Held: reason, Message: message}
}

func gone(message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeGone, Message: message}
}

// failed is for an API server that is away or answers with an error. It is asked again at the caller's next look.
func failed(what string, err error) *controllers.Result {
	message := fmt.Sprintf("could not %s: %v", what, err)
	if errors.Is(err, context.DeadlineExceeded) {
		message = fmt.Sprintf("could not %s: no answer within %s", what, callTimeout)
	}
	return &controllers.Result{Outcome: controllers.OutcomeFailed, Held: controllers.HeldAPIError, Message: message}
}
