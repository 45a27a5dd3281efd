package observer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// AnnotationFault is what is true of the pod's mount: a cause, or FaultUnknown. A pod without it is healthy.
	AnnotationFault = "storm.example/fault"
	// FaultUnknown says that no look can tell.
	FaultUnknown = "Unknown"
	// AgentPrefix and the node's name make the user that the node's agent is to the API server.
	AgentPrefix = "mountwarden/"
)

// Limits are what the agents have to keep within.
type Limits struct {
	Window     time.Duration // of the budgets
	Node       int           // removals in any window
	Namespace  int
	Cluster    int
	FollowUp   time.Duration // after which a successor is not waited for any more
	ToldWithin time.Duration // for a definitive failure to lead to a removal or to an event that says why not
}

// Options say what is observed.
type Options struct {
	Client     kubernetes.Interface
	Audit      string   // path of the API server's audit log
	Label      string   // selects the pods
	Namespaces []string // all that the pods and the agents are in
	Limits     Limits
}

// Rule is what was violated.
type Rule string

// The rules.
const (
	OptedOut      Rule = "OptedOut"      // the pod has not opted in, or not to be removed
	OtherNode     Rule = "OtherNode"     // the pod is not of the agent's node
	NotBroken     Rule = "NotBroken"     // the mount of the pod is healthy, or was not made yet
	NotKnown      Rule = "NotKnown"      // no look can tell whether it is
	GraceZero     Rule = "GraceZero"     // the pod had no time to end
	Twice         Rule = "Twice"         // a pod that was removed already is removed in another way
	NodeBudget    Rule = "NodeBudget"    // more of a node in a window than allowed
	NamespaceRule Rule = "Namespace"     // more of a namespace in a window than allowed
	ClusterBudget Rule = "ClusterBudget" // more in a window than allowed
	OwnerBusy     Rule = "OwnerBusy"     // the owner's last removed pod has no successor yet
	Unconditional Rule = "Unconditional" // the request does not say which pod of that name it means
	Untold        Rule = "Untold"        // a definitive failure has led to nothing that can be seen
	Unexplained   Rule = "Unexplained"   // the request was answered well, and yet no pod began to end
)

// Violation is one breach of a Rule.
type Violation struct {
	Rule   Rule
	At     time.Time // by the API server's clock where it has one
	Pod    string    // namespace, name and UID
	Detail string
}

// String returns the violation in one line.
func (v Violation) String() string {
	return fmt.Sprintf("%s %s %s: %s", v.At.UTC().Format("15:04:05.000"), v.Rule, v.Pod, v.Detail)
}

// Observer watches and judges.
type Observer struct {
	Options

	mu         sync.Mutex
	pods       map[types.UID]*pod
	owners     map[types.UID]*owner
	waiting    []call // accepted, for pods that were not seen ending yet
	removals   []*removal
	times      map[Rule]map[string][]time.Time
	requests   map[string]int
	violations []Violation
	unhealthy  health
	seen       int // changes of pods
}

// New returns an Observer.
func New(o Options) *Observer {
	return &Observer{
		Options: o, pods: map[types.UID]*pod{}, owners: map[types.UID]*owner{}, requests: map[string]int{},
		times: map[Rule]map[string][]time.Time{NodeBudget: {}, NamespaceRule: {}, ClusterBudget: {}},
	}
}

// pod is what is known of one pod.
type pod struct {
	name      string
	uid       types.UID
	owner     types.UID
	fault     string
	since     time.Time // when the fault was seen to stand there
	told      time.Time // when the latest event that says why it stays was made
	running   time.Time // when it was first seen to run
	born      int       // its place in the order of what was seen
	ended     int       // the place of its end in that order
	ending    *corev1.Pod
	removal   *removal // that began its end
	follows   *removal // whose successor it is
	untold    bool     // that was complained about
	gone      bool
	judged    bool // an agent may remove it
	unhealthy bool
}

func (p *pod) String() string { return p.name + " " + string(p.uid) }

// owner is what is known of a controller: the removals whose successors are not made yet, and all.
type owner struct {
	waiting []*removal
	all     []*removal
	fresh   []*pod // that are nobody's successors
}

// removal is one pod that an agent has removed.
type removal struct {
	call
	Node, Namespace string
	pod             *pod
	successor       *pod
	up              time.Time // when the successor was first seen to run
	broken          bool      // the successor was broken soon after
}

// Run observes until ctx ends. It closes ready when all watches have begun.
func (o *Observer) Run(ctx context.Context, ready chan<- struct{}) error {
	var running sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer running.Wait()
	defer cancel(nil)
	running.Go(func() {
		if err := o.tail(ctx); err != nil {
			cancel(err)
		}
	})
	running.Go(func() { o.patrol(ctx) })
	if err := o.watch(ctx, &running); err != nil {
		return err
	}
	close(ready)
	<-ctx.Done()
	if err := context.Cause(ctx); err != context.Canceled { //nolint:errorlint // the cause is the very value
		return err
	}
	return nil
}

// Violations returns what was found so far.
func (o *Observer) Violations() []Violation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}

func (o *Observer) violated(rule Rule, at time.Time, pod, detail string) {
	o.violations = append(o.violations, Violation{rule, at, pod, detail})
}

func agentNode(user string) (node string, ok bool) { return strings.CutPrefix(user, AgentPrefix) }
