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

// Node answers what only this node can tell.
type Node interface {
	// Probe looks at the mounts of a pod, within about timeout.
	Probe(ctx context.Context, pod probes.Pod, timeout time.Duration) []probes.Observation
	// CheckReadiness says whether a new mount of the volume would succeed now.
	CheckReadiness(ctx context.Context, v probes.Volume) probes.MountReadiness
	// Consumers says who uses a super block, "major:minor".
	Consumers(device string) probes.Consumers
}

// Ledger is what all agents together know of removals.
type Ledger interface {
	Refuse(ctx context.Context, a ledger.Ask) (*ledger.Refusal, error)
	Reserve(ctx context.Context, a ledger.Ask) (holds time.Duration, refusal *ledger.Refusal, err error)
	Release(ctx context.Context, pod types.UID, at time.Time) error
}

// Follower watches over what comes of a removal. It does not block.
type Follower interface {
	Follow(e ledger.Entry, removed *corev1.Pod)
	// Recall has the ledger read for removals of this node that nobody follows, and those given back that were not done.
	Recall()
}

// Options are the parts that a Remediator is made of. All are required.
type Options struct {
	Client   kubernetes.Interface // must not read from a cache
	Cached   client.Reader        // this node's pods, and of this node and of namespaces the metadata
	Node     Node
	Ledger   Ledger
	Follower Follower
	Config   config.Config
	Now      func() time.Time
	// ClusterTime turns a time of this node's clock into one of the API server's.
	ClusterTime func(local time.Time) time.Time
}

// Remediator removes pods. It is safe for concurrent use.
type Remediator struct {
	Options
	outage   outage // of reads, and of the ledger
	refusals outage // of removals: a server that is read from may refuse each, such as one whose admission webhook is down
}

// New returns a Remediator.
func New(o Options) *Remediator { return &Remediator{Options: o} }

// attempt is one Request on its way through the gates.
type attempt struct {
	controllers.Request
	reason probes.Observation
	ask    ledger.Ask
	live   *corev1.Pod
	policy config.Policy // of live: a person may have changed it while the cache was behind
	probed time.Time     // when the mount was probed for the last time
	until  time.Time     // when the reservation ends, by this node's clock
	unsure bool          // the API server may or may not have removed the pod
}

// Remediate removes the pod of the Request if every gate lets it pass. It asks the API server at most once to remove it
// and never waits for the pod to end. A failure of the API server is a Result too: OutcomeFailed.
func (r *Remediator) Remediate(ctx context.Context, req controllers.Request) controllers.Result {
	a := r.attempt(req)
	if refusal := r.gates(ctx, a); refusal != nil {
		refusal.Action = cmp.Or(a.policy.Action, config.ActionEvict)
		return *refusal
	}
	if refusal := r.reserve(ctx, a); refusal != nil {
		refusal.Action = a.policy.Action
		return *refusal
	}
	result := r.act(ctx, a)
	if result.Outcome != controllers.OutcomeFailed {
		r.refusals.over()
	}
	r.settle(ctx, a, result.Outcome)
	return result
}

func (r *Remediator) attempt(req controllers.Request) *attempt {
	reason, _ := req.Decision.Reason()
	a := &attempt{Request: req, reason: reason.Observation, policy: req.Policy}
	a.ask = ledger.Ask{
		Entry: ledger.Entry{
			Node: r.Config.NodeName, Namespace: req.Pod.Namespace, Pod: req.Pod.Name, PodUID: req.Pod.UID, Owner: ledger.OwnerOf(req.Pod),
			Backend: req.Volume.Backend.String(), Cause: a.reason.Cause, Since: r.ClusterTime(reason.Since),
			WellFor: int64(math.Ceil(wellFor(reason, req.Policy, r.Config.Defaults).Seconds())),
		},
		Failing: failing(req.Mounts, req.Volume.Backend, a.reason.Cause),
		Created: req.Pod.CreationTimestamp.Time,
		Healthy: req.Healthy,
	}
	return a
}

// gate is one question. It answers nil when it has nothing against a removal.
type gate func(ctx context.Context, a *attempt) *controllers.Result

// gates asks in order and returns the first refusal. A dry run comes last, so that it says what every other gate would have
// said; the ledger is not for it, since it takes nothing from a budget.
func (r *Remediator) gates(ctx context.Context, a *attempt) *controllers.Result {
	for _, ask := range []gate{
		mode, comesBack, r.paused, r.leavesService, r.shared, r.fresh, r.admitted, r.lastProbe, // cost the API server nothing, or next to nothing
		r.paused, r.samePod, optedIn, comesBackLive, r.jobGoesOn, r.dryRun, // what may have changed while the probe has waited
	} {
		if refusal := ask(ctx, a); refusal != nil {
			return refusal
		}
	}
	return nil
}

// mode refuses what the pod's policy does not permit.
func mode(_ context.Context, a *attempt) *controllers.Result {
	if a.Policy.Mode != config.ModeRemediate {
		return reportOnly(a.Policy.Mode)
	}
	return nil
}

func (r *Remediator) dryRun(_ context.Context, a *attempt) *controllers.Result {
	if !r.Config.DryRun {
		return nil
	}
	refusal := held(controllers.HeldDryRun, fmt.Sprintf("the agent runs with dryRun; it would %s the pod now", strings.ToLower(string(a.policy.Action))))
	refusal.RetryAfter = time.Minute
	return refusal
}

func held(reason controllers.Held, message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeHeld, Held: reason, Message: message}
}

// heldFor is held for what is not worth asking again before d is over.
func heldFor(d time.Duration, reason controllers.Held, message string) *controllers.Result {
	refusal := held(reason, message)
	refusal.RetryAfter = d
	return refusal
}

func gone(message string) *controllers.Result {
	return &controllers.Result{Outcome: controllers.OutcomeGone, Message: message}
}
