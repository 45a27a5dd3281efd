package remediate

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/probes"
)

// callTimeout bounds each call to the API server.
const callTimeout = 5 * time.Second

// Node answers what only this node knows.
type Node interface {
	// Probe probes the mounts of a pod, within about timeout.
	Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation
	// CheckReadiness says whether a new mount of the volume would succeed now.
	CheckReadiness(ctx context.Context, v probes.Volume) probes.MountReadiness
	// Consumers says who uses a super block, "major:minor".
	Consumers(device string) probes.Consumers
}

// Ledger is what all agents together know of evictions.
type Ledger interface {
	Refuse(ctx context.Context, a ledger.Ask) (*ledger.Refusal, error)
	Reserve(ctx context.Context, a ledger.Ask) (holds time.Duration, refusal *ledger.Refusal, err error)
	Release(ctx context.Context, pod types.UID, at time.Time) error
}

// Follower follows an eviction to its result. It does not block.
type Follower interface {
	Follow(e ledger.Entry, removed *corev1.Pod)
	// Recall has the ledger read for evictions of this node that nobody follows. Those that were
	// not done are given back.
	Recall()
}

// Options are the parts that a Remediator is made of. All are required.
type Options struct {
	Client   kubernetes.Interface // must not read from a cache
	Cached   client.Reader        // this node's pods, and the metadata of this node and of namespaces
	Node     Node
	Ledger   Ledger
	Follower Follower
	Config   config.Config
	Now      func() time.Time
	// ClusterTime turns a time of this node's clock into one of the API server's.
	ClusterTime func(local time.Time) time.Time
}

// Remediator evicts and deletes pods. It is safe for concurrent use.
type Remediator struct {
	Options
	readOutage    outage // of reads, and of the ledger
	removalOutage outage // of evictions: a server that answers reads may fail them all, if an admission webhook is down
}

// New returns a Remediator.
func New(o Options) *Remediator { return &Remediator{Options: o} }

// attempt is one Request on its way through the gates.
type attempt struct {
	controllers.Request
	reason        probes.Observation
	ask           ledger.Ask
	live          *corev1.Pod
	policy        config.Policy // of live: it may have changed while the cache was behind
	probedAt      time.Time     // when the mount was probed last
	reservedUntil time.Time     // when the reservation ends, by this node's clock
	mayBeRemoved  bool          // the API server may or may not have evicted the pod
}

// Remediate evicts or deletes the pod of the Request if every gate lets it pass. It asks the API
// server for that at most once, and never waits for the pod to end. A failure of the API server is
// a Result too: OutcomeFailed.
func (r *Remediator) Remediate(ctx context.Context, req controllers.Request) controllers.Result {
	a := r.newAttempt(req)
	if refusal := r.runGates(ctx, a); refusal != nil {
		refusal.Action = cmp.Or(a.policy.Action, config.ActionEvict)
		return *refusal
	}
	if refusal := r.reserveRemoval(ctx, a); refusal != nil {
		refusal.Action = a.policy.Action
		return *refusal
	}
	result := r.evictOrDelete(ctx, a)
	if result.Outcome != controllers.OutcomeFailed {
		r.removalOutage.endOutage()
	}
	r.followOrRelease(ctx, a, result.Outcome)
	return result
}

func (r *Remediator) newAttempt(req controllers.Request) *attempt {
	reason, _ := req.Decision.Reason()
	a := &attempt{Request: req, reason: reason.Observation, policy: req.Policy}
	a.ask = ledger.Ask{
		Entry: ledger.Entry{
			Node: r.Config.NodeName, Namespace: req.Pod.Namespace, Pod: req.Pod.Name, PodUID: req.Pod.UID, Owner: ledger.OwnerOf(req.Pod),
			Backend: req.Volume.Backend.String(), Cause: a.reason.Cause, Since: r.ClusterTime(reason.Since),
			WellFor: int64(math.Ceil(requiredWellFor(reason, req.Policy, r.Config.Defaults).Seconds())),
		},
		Failing: countFailing(req.Mounts, req.Volume.Backend, a.reason.Cause),
		Created: req.Pod.CreationTimestamp.Time,
		Healthy: req.Healthy,
	}
	return a
}

// gate is one question. It returns nil when it has nothing against an eviction.
type gate func(ctx context.Context, a *attempt) *controllers.Result

// runGates asks in order and returns the first refusal. A dry run comes last, so that it says what
// every other gate would have said. It skips the ledger, because it takes nothing from a budget.
func (r *Remediator) runGates(ctx context.Context, a *attempt) *controllers.Result {
	for _, ask := range []gate{
		// These cost the API server nothing, or almost nothing.
		checkMode, checkRecreatedCached, r.checkPaused, r.checkServicesLeft, r.checkSharedVolumes, r.checkBackendsReady, r.checkLedger, r.checkLastProbe,
		// These ask what may have changed while the last probe waited.
		r.checkPaused, r.checkSamePod, checkOptedIn, checkRecreatedLive, r.checkJobRetries, r.checkDryRun,
	} {
		if refusal := ask(ctx, a); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkMode refuses what the pod's policy does not permit.
func checkMode(_ context.Context, a *attempt) *controllers.Result {
	if a.Policy.Mode != config.ModeRemediate {
		return newReportMode(a.Policy.Mode)
	}
	return nil
}

func (r *Remediator) checkDryRun(_ context.Context, a *attempt) *controllers.Result {
	if !r.Config.DryRun {
		return nil
	}
	refusal := newHeld(controllers.HeldDryRun, fmt.Sprintf("the agent runs with dryRun; it would %s the pod now", strings.ToLower(string(a.policy.Action))))
	refusal.RetryAfter = time.Minute
	return refusal
}

func newHeld(reason controllers.Held, message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeHeld, Held: reason, Message: message}
}

// newHeldFor is newHeld for what is not worth asking again before d has passed.
func newHeldFor(d time.Duration, reason controllers.Held, message string) *controllers.Result {
	refusal := newHeld(reason, message)
	refusal.RetryAfter = d
	return refusal
}

func newGone(message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeGone, Message: message}
}
