package remediate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/remediate"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// now is what the Remediator's clock shows.
var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// scenario is one test's pod, settings, traffic and Request, all of which a case may change before
// it calls remediate.
type scenario struct {
	t       *testing.T
	pod     *corev1.Pod // as cached
	config  config.Config
	request controllers.Request
	traffic apitest.Traffic
	fakes   fakes
	elapsed time.Duration // since now
}

// newScenario runs a pod after prepare, and creates a Request for it that passes every gate.
func newScenario(t *testing.T, prepare ...func(*corev1.Pod)) *scenario {
	t.Helper()
	server.Require(t)
	t.Parallel()
	pod := apitest.NewPod(server.Namespace(t, nil), "app")
	for _, p := range prepare {
		p(pod)
	}
	s := &scenario{t: t, pod: server.Run(t, pod), config: config.Default()}
	s.config.NodeName, s.config.Namespace = apitest.Node, s.pod.Namespace
	s.setCause(probes.CauseDisconnected)
	return s
}

// setCause creates the Request again, from the cached pod, for a cause.
func (s *scenario) setCause(cause probes.Cause) {
	s.t.Helper()
	policy, err := config.ParsePolicy(s.pod, s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.request = controllers.Request{Pod: s.pod, Policy: policy, Decision: newDecision(cause), State: newFailedState(cause), Volume: probes.Volume{
		Backend: probes.Backend{Kind: probes.BackendCSI, Name: "fuse.csi.example"}, PodUID: string(s.pod.UID), Device: "0:77", Source: "src",
	}}
}

// target is the mount of every pod.
var target = probes.Target{Container: "app", Volume: "data", Path: "/data"}

func newBroken(cause probes.Cause) probes.Observation {
	return probes.Observation{Target: target, Health: probes.Broken, Cause: cause}
}

func newDecision(cause probes.Cause) verdict.Decision {
	return verdict.Decision{Remediate: true, Failures: []verdict.Failure{{Observation: newBroken(cause), Looks: 3, Definitive: cause.Definitive()}}}
}

// newFailedState is the state that the decision is made from.
func newFailedState(cause probes.Cause) verdict.State {
	return verdict.State{target: {Phase: verdict.Failed, Looks: 3, Observation: newBroken(cause)}}
}

func (s *scenario) remediate() controllers.Result {
	s.t.Helper()
	return s.newRemediator(server.Config).Remediate(apitest.Context(s.t), s.request)
}

// newRemediator returns one that talks to the API server of config, with a ledger of the test's
// own.
func (s *scenario) newRemediator(config *rest.Config) *remediate.Remediator {
	s.t.Helper()
	client := s.traffic.Client(s.t, config)
	clock := func() time.Time { return now.Add(s.elapsed) }
	return remediate.New(remediate.Options{
		Client: client, Cached: &s.fakes, Node: &s.fakes, Follower: &s.fakes, Ledger: ledger.NewStore(client, s.config, clock), Config: s.config,
		Now: clock, ClusterTime: func(local time.Time) time.Time { return local },
	})
}

// requireUntouched checks that no request could have evicted or deleted the pod, and that the pod
// is as it was.
func (s *scenario) requireUntouched() {
	s.t.Helper()
	if sent := s.traffic.Removals(); len(sent) > 0 {
		s.t.Errorf("sent %v, want no request that removes a pod", sent)
	}
	if live := server.Get(s.t, s.pod); live.UID != s.pod.UID || live.DeletionTimestamp != nil {
		s.t.Errorf("the pod is not as it was: UID %s, deleted at %v", live.UID, live.DeletionTimestamp)
	}
}

func (s *scenario) requireResult(got controllers.Result, outcome controllers.Outcome, action config.Action, held controllers.Held) {
	s.t.Helper()
	if got.Outcome != outcome || got.Action != action || got.Held != held {
		s.t.Errorf("got %+v, want outcome %q, action %q, held %q", got, outcome, action, held)
	}
	if got.Message == "" {
		s.t.Error("the Result has no message")
	}
}

func (s *scenario) requireRemovals(want ...string) {
	s.t.Helper()
	if got := s.traffic.Removals(); fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("requests that remove a pod: %v, want %v", got, want)
	}
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func withoutOwner(p *corev1.Pod) { p.OwnerReferences = nil }

// A refusal costs no request that could remove the pod.
func TestGates(t *testing.T) {
	mirror := annotate(corev1.MirrorPodAnnotationKey, "mirror")
	for _, tc := range []struct {
		name    string
		prepare []func(*corev1.Pod)
		change  func(*corev1.Pod) // of the live object, after the Request was made
		config  func(*config.Config)
		held    controllers.Held
	}{
		{name: "mode Report", prepare: []func(*corev1.Pod){annotate(config.AnnotationMode, "Report")}, held: controllers.HeldReportMode},
		{name: "mode Report since", change: annotate(config.AnnotationMode, "Report"), held: controllers.HeldReportMode},
		{name: "invalid annotation since", change: annotate(config.AnnotationPeriodSeconds, "soon"), held: controllers.HeldReportMode},
		{name: "unknown annotation since", change: annotate(config.AnnotationPrefix+"modus", "x"), held: controllers.HeldReportMode},
		{name: "opted out since", change: annotate(config.AnnotationWatch, "false"), held: controllers.HeldOptedOut},
		{name: "annotation removed since", change: func(p *corev1.Pod) { delete(p.Annotations, config.AnnotationWatch) }, held: controllers.HeldOptedOut},
		{
			name: "another volume is watched since", held: controllers.HeldOptedOut,
			prepare: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.Volumes = append(p.Spec.Volumes, apitest.Volume("other"))
				p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "other", MountPath: "/other"})
			}},
			change: annotate(config.AnnotationVolumes, "other"),
		},
		{name: "dry run", config: func(c *config.Config) { c.DryRun = true }, held: controllers.HeldDryRun},
		{name: "bare pod", prepare: []func(*corev1.Pod){withoutOwner}, held: controllers.HeldNoController},
		{name: "owner that is no controller", prepare: []func(*corev1.Pod){func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }}, held: controllers.HeldNoController},
		{
			name: "bare pod, no longer allowed", prepare: []func(*corev1.Pod){withoutOwner, annotate(config.AnnotationAllowUnmanaged, "true")},
			change: annotate(config.AnnotationAllowUnmanaged, "false"), held: controllers.HeldNoController,
		},
		{name: "mirror pod", prepare: []func(*corev1.Pod){mirror}, held: controllers.HeldStaticPod},
		{name: "mirror pod, unmanaged allowed", prepare: []func(*corev1.Pod){mirror, annotate(config.AnnotationAllowUnmanaged, "true")}, held: controllers.HeldStaticPod},
		{
			name: "dry run tells the other gate's reason", prepare: []func(*corev1.Pod){withoutOwner},
			config: func(c *config.Config) { c.DryRun = true }, held: controllers.HeldNoController,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScenario(t, tc.prepare...)
			if tc.config != nil {
				tc.config(&s.config)
			}
			if tc.change != nil {
				server.Change(t, s.pod, tc.change)
			}
			s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, tc.held)
			s.requireUntouched()
		})
	}
}

func TestOnlyRunningPods(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown} {
		t.Run(string(phase), func(t *testing.T) {
			s := newScenario(t)
			server.ChangeStatus(t, s.pod, func(s *corev1.PodStatus) { s.Phase = phase })
			s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
			s.requireUntouched()
		})
	}
}

func TestTerminatingPodIsLeftAlone(t *testing.T) {
	s := newScenario(t)
	server.Delete(t, s.pod)
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
	s.requireRemovals()
}

func TestRequestWithoutEvidenceRemovesNothing(t *testing.T) {
	s := newScenario(t)
	s.request.Decision = verdict.Decision{}
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotConfirmed)
	s.requireUntouched()
}

func TestZeroPolicyRemovesNothing(t *testing.T) {
	s := newScenario(t)
	s.request.Policy = config.Policy{}
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldReportMode)
	s.requireUntouched()
}

func TestGonePod(t *testing.T) {
	s := newScenario(t)
	server.Vanish(t, s.pod)
	s.requireResult(s.remediate(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	s.requireRemovals()
}

func TestAnotherPodUnderTheSameName(t *testing.T) {
	s := newScenario(t)
	server.Vanish(t, s.pod)
	successor := server.Run(t, apitest.NewPod(s.pod.Namespace, s.pod.Name))
	s.requireResult(s.remediate(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	s.pod = successor
	s.requireUntouched()
}

func TestEvict(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(*corev1.Pod)
		grace   int64
	}{
		{"default grace", func(*corev1.Pod) {}, 30},
		{"the pod's own grace", withGrace(77), 77},
		{"grace 1", withGrace(1), 1},
		{"grace 0 becomes 1", withGrace(0), 1},
		{"unmanaged, allowed", func(p *corev1.Pod) { withoutOwner(p); annotate(config.AnnotationAllowUnmanaged, "true")(p) }, 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScenario(t, tc.prepare)
			s.requireResult(s.remediate(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
			s.requireRemovals("evict")
			s.requireTerminating(tc.grace)
		})
	}
}

func TestDelete(t *testing.T) {
	for _, tc := range []struct{ own, grace int64 }{{30, 30}, {5, 5}, {0, 1}} {
		t.Run(fmt.Sprintf("grace %d", tc.own), func(t *testing.T) {
			s := newScenario(t, withGrace(tc.own), annotate(config.AnnotationAction, "Delete"))
			s.requireResult(s.remediate(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
			s.requireRemovals("delete")
			s.requireTerminating(tc.grace)
		})
	}
}

// The live object's action counts: its owner may just have decided against a deletion in spite of
// budgets.
func TestActionIsTheLiveObjects(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	server.Change(t, s.pod, annotate(config.AnnotationAction, "Evict"))
	s.requireResult(s.remediate(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	s.requireRemovals("evict")
}

func withGrace(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = &seconds }
}

func (s *scenario) requireTerminating(grace int64) {
	s.t.Helper()
	live := server.Get(s.t, s.pod)
	if live.UID != s.pod.UID || live.DeletionTimestamp == nil {
		s.t.Fatalf("the pod is not terminating: %+v", live.ObjectMeta)
	}
	if got := live.DeletionGracePeriodSeconds; got == nil || *got != grace {
		s.t.Errorf("grace is %v, want %d", got, grace)
	}
}

// The same Request again must not remove anything twice.
func TestAskedTwice(t *testing.T) {
	s := newScenario(t)
	s.requireResult(s.remediate(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
	s.requireRemovals("evict")
}

func TestForeignUIDIsNeverHit(t *testing.T) {
	s := newScenario(t)
	s.request.Pod = s.request.Pod.DeepCopy()
	s.request.Pod.UID = types.UID("judged")
	s.requireResult(s.remediate(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	s.requireUntouched()
}

func TestStoppedAgentRemovesNothing(t *testing.T) {
	s := newScenario(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := s.newRemediator(server.Config).Remediate(ctx, s.request)
	s.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	s.requireUntouched()
}
