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

// Prober looks at the mounts of a pod: one observation for every mount of every container, within about timeout.
type Prober interface {
	Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation
	// Forget says that the pod, by the UID of its probes.Pod, is looked at no more.
	Forget(uid string)
}

// Remediator removes a pod if that is allowed and helps.
type Remediator interface {
	Remediate(ctx context.Context, req controllers.Request) controllers.Result
}

// Meter counts what happens.
type Meter interface {
	Observed(o probes.Observation)
	Detected(f verdict.Failure, trigger probes.Trigger)
	Remediated(cause probes.Cause, r controllers.Result)
}

// Options are the parts that a Reconciler is made of. All are required but where they say so.
type Options struct {
	Client     client.Reader // cached: this node's pods and, where Config selects namespaces, the metadata of these
	Prober     Prober
	Remediator Remediator
	Meter      Meter
	Recorder   events.EventRecorder
	Config     config.Config
	Now        func() time.Time
	Conditions ConditionWriter // optional: without it no pod gets a condition
	// Spread says after which share of the period, above 0 and at most 1, a pod is looked at for the second time. Pods that an agent
	// finds when it starts would else be looked at all at once, for ever. Optional; without it the share is 1.
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
	selector labels.Selector
	tracker  *tracker
	called   chan event.GenericEvent // pods that are to be looked at out of turn
	lastScan atomic.Int64            // when a look was last finished, in nanoseconds since 1970
}

// New returns a Reconciler. The error names an invalid setting.
func New(o Options) (*Reconciler, error) {
	selector, err := o.Config.Limits.Selector()
	if err != nil {
		return nil, err
	}
	return &Reconciler{Options: o, selector: selector, tracker: newTracker(), called: make(chan event.GenericEvent)}, nil
}

// maxConcurrent is how many pods are looked at at once. A look may wait for its whole timeout, so this is more
// than the looks that may be under way, and no pod waits for a hung one. A waiting look costs a goroutine.
const maxConcurrent = 64

// SetupWithManager registers the Reconciler for pods.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	b := ctrl.NewControllerManagedBy(mgr).Named("podmount").
		For(&corev1.Pod{}, builder.WithPredicates(predicate.NewPredicateFuncs(r.concerns))).
		WatchesRawSource(source.Channel(r.called, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: maxConcurrent})
	if !r.selector.Empty() {
		b = b.WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.podsIn))
	}
	if err := b.Complete(r); err != nil {
		return fmt.Errorf("set up the pod controller: %w", err)
	}
	return nil
}

// podsIn lists the pods of a namespace whose labels may have changed. A failed read of the cache loses nothing: each
// watched pod comes round by itself, and the others at their next update.
func (r *Reconciler) podsIn(ctx context.Context, ns client.Object) []reconcile.Request {
	pods := &corev1.PodList{}
	if err := r.Client.List(ctx, pods, client.InNamespace(ns.GetName())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List the pods of a namespace", "namespace", ns.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range pods.Items {
		if r.concerns(&pods.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&pods.Items[i])})
		}
	}
	return requests
}

// concerns lets through pods that have opted in and pods that were watched until now.
func (r *Reconciler) concerns(o client.Object) bool {
	_, asks := o.GetAnnotations()[config.AnnotationWatch]
	return asks || r.tracker.has(client.ObjectKeyFromObject(o))
}

// Reconcile looks once at one pod and says when to look again.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	pod := &corev1.Pod{}
	err := r.Client.Get(ctx, req.NamespacedName, pod)
	if apierrors.IsNotFound(err) {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("read the pod from the cache: %w", err)
	}
	watched, err := r.watched(ctx, pod)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !watched {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	t := r.track(pod)
	policy := r.policy(ctx, t, pod)
	if wait := r.early(t, pod, policy); wait > 0 {
		t.waits(r.Now().Add(wait))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	looks := round{pod: pod, policy: policy, look: target(pod, policy)}
	looks.trigger = t.begin(r.Now().Add(policy.Timeout)) // by then the look has ended, else it is late
	looks.observations = r.Prober.Probe(ctx, looks.look, policy.Timeout)
	if ctx.Err() != nil {
		return ctrl.Result{}, nil //nolint:nilerr // stopping is no failure: what was seen may be cut short
	}
	r.lastScan.Store(r.Now().UnixNano())
	wait := r.judge(ctx, t, looks)
	confirms := wait < policy.Period
	if !confirms {
		wait = r.turn(t, pod, wait)
	}
	t.lookAgain(r.Now().Add(wait), looks.trigger, confirms)
	return ctrl.Result{RequeueAfter: wait}, nil
}

// track returns what is remembered of the pod, and lets go of a former one of its name.
func (r *Reconciler) track(pod *corev1.Pod) *tracked {
	t, former := r.tracker.of(pod)
	if former != nil {
		r.Prober.Forget(former.probed)
	}
	return t
}

// forget lets go of a pod that is not watched any more.
func (r *Reconciler) forget(key types.NamespacedName) {
	if t := r.tracker.forget(key); t != nil {
		r.Prober.Forget(t.probed)
	}
}

// turns is how many groups of pods are looked at in a period. To wake up for a pod takes more than to look at it, so that
// those whose turns are close to each other are looked at together.
const turns = 10

// turn returns when the pod's turn comes, at the latest after a period.
func (r *Reconciler) turn(t *tracked, pod *corev1.Pod, period time.Duration) time.Duration {
	if r.Spread == nil {
		return period
	}
	wait := period
	if !t.spread {
		t.spread = true
		wait = time.Duration(float64(period) * r.Spread(pod.UID))
	}
	if early := time.Duration(r.Now().Add(wait).UnixNano()) % (period / turns); early < wait {
		wait -= early
	}
	return wait
}

// Announce calls for a look at a pod out of turn, by the UID of its probes.Pod. It waits until the controller has taken note, at
// most until ctx ends; a pod that is not watched is passed over.
func (r *Reconciler) Announce(ctx context.Context, uid string, trigger probes.Trigger) {
	key, t := r.tracker.probed(uid)
	if t == nil {
		return
	}
	t.announce(trigger)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	select {
	case r.called <- event.GenericEvent{Object: pod}:
	case <-ctx.Done():
	}
}

// watched reports whether the pod has opted in, its namespace may, and it is up.
func (r *Reconciler) watched(ctx context.Context, pod *corev1.Pod) (bool, error) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false, nil
	}
	return r.optedIn(ctx, pod)
}

// optedIn reports whether the pod asks to be watched, and its namespace may.
func (r *Reconciler) optedIn(ctx context.Context, pod *corev1.Pod) (bool, error) {
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

// policy reads the annotations and reports once what is wrong with them.
func (r *Reconciler) policy(ctx context.Context, t *tracked, pod *corev1.Pod) config.Policy {
	policy, err := config.ParsePolicy(pod, r.Config)
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != t.invalid {
		r.invalidPolicy(ctx, pod, problem)
	}
	t.invalid = problem
	t.publish(pod, policy, problem)
	return policy
}

// early returns how long it is too early to look: an update of the pod is no reason for a look out of turn, which
// would count as one more in the row.
func (r *Reconciler) early(t *tracked, pod *corev1.Pod, policy config.Policy) time.Duration {
	start := t.nextLook()
	if ready := lastStart(pod, policy).Add(policy.InitialDelay); ready.After(start) {
		start = ready
	}
	return start.Sub(r.Now())
}
