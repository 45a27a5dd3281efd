package podmount

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// Prober probes the mounts of a pod: one observation for every mount of every container, within
// about timeout.
type Prober interface {
	Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation
	// Forget says that the pod with this UID (of its probes.Pod) is not probed any more.
	Forget(uid string)
}

// Remediator evicts a pod if that is allowed and helps.
type Remediator interface {
	Remediate(ctx context.Context, req controllers.Request) controllers.Result
}

// Meter counts what happens.
type Meter interface {
	Observed(o probes.Observation)
	Detected(f verdict.Failure, trigger probes.Trigger)
	Remediated(cause probes.Cause, r controllers.Result)
}

// Options are the parts that a Reconciler is made of. All are required except where they say so.
type Options struct {
	Client     client.Reader // cached: this node's pods and, where Config selects namespaces, the metadata of these
	Prober     Prober
	Remediator Remediator
	Meter      Meter
	Recorder   events.EventRecorder
	Config     config.Config
	Now        func() time.Time
	Conditions ConditionWriter // optional: without it no pod gets a condition
	// Spread says after which share of the period, above 0 and at most 1, a pod is probed for the
	// second time. Without it the share is 1, and all pods that an agent finds when it starts are
	// probed at the same moment of each period from then on. Optional.
	Spread func(types.UID) float64
}

// SpreadEvenly is a Spread that scatters pods by their UID.
func SpreadEvenly(uid types.UID) float64 {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(uid)) // never fails
	return float64(hash.Sum32()%1000+1) / 1000
}

// Reconciler watches the mounts of this node's annotated pods.
type Reconciler struct {
	Options
	selector      labels.Selector
	tracker       *podTracker
	announcements chan event.GenericEvent // pods to probe as soon as possible
	lastProbeEnd  atomic.Int64            // when a probe round last ended, in nanoseconds since 1970
}

// New returns a Reconciler. The error names an invalid setting.
func New(o Options) (*Reconciler, error) {
	selector, err := o.Config.Limits.Selector()
	if err != nil {
		return nil, err
	}
	return &Reconciler{Options: o, selector: selector, tracker: newPodTracker(), announcements: make(chan event.GenericEvent)}, nil
}

// maxConcurrentReconciles is how many pods are probed at the same time. A probe may take its whole
// timeout, so this is more than the probes that may hang at once, and no pod waits for a hung one.
// A probe that waits costs one goroutine.
const maxConcurrentReconciles = 64

// SetupWithManager registers the Reconciler for pods.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).Named("podmount").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(r.mayBeWatched))).
		WatchesRawSource(source.Channel(r.announcements, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: maxConcurrentReconciles})
	if !r.selector.Empty() {
		b = b.WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.mapNamespaceToPods))
	}
	if err := b.Complete(r); err != nil {
		return fmt.Errorf("set up the pod controller: %w", err)
	}
	return nil
}

// mapNamespaceToPods lists the pods of a namespace whose labels may have changed. If the cache
// cannot be read, nothing is lost: each watched pod is reconciled again by itself, and the others
// at their next update.
func (r *Reconciler) mapNamespaceToPods(ctx context.Context, ns client.Object) []reconcile.Request {
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(ns.GetName())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List the pods of a namespace", "namespace", ns.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		if r.mayBeWatched(&pods.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&pods.Items[i])})
		}
	}
	return requests
}

// mayBeWatched reports whether a pod has opted in, or was watched until now.
func (r *Reconciler) mayBeWatched(o client.Object) bool {
	_, asks := o.GetAnnotations()[config.AnnotationWatch]
	return asks || r.tracker.hasPod(client.ObjectKeyFromObject(o))
}

// Reconcile probes one pod and says when to probe it again.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := r.Client.Get(ctx, req.NamespacedName, pod)
	if apierrors.IsNotFound(err) {
		r.untrackPod(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read the pod from the cache: %w", err)
	}
	watched, err := r.isWatched(ctx, pod)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !watched {
		r.untrackPod(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	t := r.trackPod(pod)
	policy := r.readPolicy(ctx, t, pod)
	if wait := r.untilDue(t, pod, policy); wait > 0 {
		t.delayProbe(r.Now().Add(wait))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	round := probeRound{pod: pod, policy: policy, probePod: newProbePod(pod, policy)}
	round.trigger = t.startProbe(r.Now().Add(policy.Timeout)) // when the probe must have ended
	round.observations = r.Prober.Probe(ctx, round.probePod, policy.Timeout)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil //nolint:nilerr // stopping is no failure, and the observations may be incomplete
	}
	r.lastProbeEnd.Store(r.Now().UnixNano())
	wait := r.judgeRound(ctx, t, round)
	confirms := wait < policy.Period
	if !confirms {
		wait = r.alignToGroup(t, pod, wait)
	}
	t.scheduleProbe(r.Now().Add(wait), round.trigger, confirms)
	return ctrl.Result{RequeueAfter: wait}, nil
}

// trackPod returns the state of the pod. It forgets a former pod of the same name.
func (r *Reconciler) trackPod(pod *corev1.Pod) *podState {
	t, former := r.tracker.getOrAddPod(pod)
	if former != nil {
		r.Prober.Forget(former.proberUID)
	}
	return t
}

// untrackPod forgets a pod that is not watched any more.
func (r *Reconciler) untrackPod(key types.NamespacedName) {
	if t := r.tracker.dropPod(key); t != nil {
		r.Prober.Forget(t.proberUID)
	}
}

// groupsPerPeriod is how many groups of pods are probed in a period. Waking up for a pod costs more
// than probing it, so pods that are due at about the same time are probed together.
const groupsPerPeriod = 10

// alignToGroup returns in how long the pod's group is due, at most a period. The first time, the
// pod gets its share of a period (Options.Spread), which decides its group.
func (r *Reconciler) alignToGroup(t *podState, pod *corev1.Pod, period time.Duration) time.Duration {
	if r.Spread == nil {
		return period
	}
	wait := period
	if !t.jittered {
		t.jittered = true
		wait = time.Duration(float64(period) * r.Spread(pod.UID))
	}
	if sinceGroup := time.Duration(r.Now().Add(wait).UnixNano()) % (period / groupsPerPeriod); sinceGroup < wait {
		wait -= sinceGroup
	}
	return wait
}

// Announce requests a probe of a pod as soon as possible, by the UID of its probes.Pod. It returns
// when the controller has queued it or ctx ends. A pod that is not watched is ignored.
func (r *Reconciler) Announce(ctx context.Context, uid string, trigger probes.Trigger) {
	key, t := r.tracker.findByProberUID(uid)
	if t == nil {
		return
	}
	t.requestProbe(trigger)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	select {
	case r.announcements <- event.GenericEvent{Object: pod}:
	case <-ctx.Done():
	}
}

// isWatched reports whether the pod has opted in, its namespace is selected, and it is running.
func (r *Reconciler) isWatched(ctx context.Context, pod *corev1.Pod) (bool, error) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false, nil
	}
	return r.hasOptedIn(ctx, pod)
}

// hasOptedIn reports whether the pod asks to be watched, and its namespace is selected.
func (r *Reconciler) hasOptedIn(ctx context.Context, pod *corev1.Pod) (bool, error) {
	asks, set := pod.Annotations[config.AnnotationWatch]
	if !set || asks == "false" {
		return false, nil
	}
	if r.selector.Empty() {
		return true, nil
	}
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Client.Get(ctx, client.ObjectKey{Name: pod.Namespace}, ns); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return r.selector.Matches(labels.Set(ns.Labels)), nil
}

// readPolicy parses the annotations and reports once what is wrong with them.
func (r *Reconciler) readPolicy(ctx context.Context, t *podState, pod *corev1.Pod) config.Policy {
	policy, err := config.ParsePolicy(pod, r.Config)
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != t.reportedProblem {
		r.reportInvalidPolicy(ctx, pod, problem)
	}
	t.reportedProblem = problem
	t.recordPolicy(pod, policy, problem)
	return policy
}

// untilDue returns in how long the next probe of the pod is due. An update of the pod does not
// cause a probe before that: it would count towards the failure threshold.
func (r *Reconciler) untilDue(t *podState, pod *corev1.Pod, policy config.Policy) time.Duration {
	due := t.nextProbe()
	if ready := findLastStart(pod, policy).Add(policy.InitialDelay); ready.After(due) {
		due = ready
	}
	return due.Sub(r.Now())
}
