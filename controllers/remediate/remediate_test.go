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

// lab is one test's pod, settings, traffic and Request, all of which a case may change before the act.
type lab struct {
	t       *testing.T
	pod     *corev1.Pod // as cached
	config  config.Config
	request controllers.Request
	traffic apitest.Traffic
	world   world
	later   time.Duration // than now
}

// newLab runs a pod after prepare and makes a Request for it that passes every gate.
func newLab(t *testing.T, prepare ...func(*corev1.Pod)) *lab {
	t.Helper()
	server.Require(t)
	t.Parallel()
	pod := apitest.NewPod(server.Namespace(t, nil), "app")
	for _, p := range prepare {
		p(pod)
	}
	l := &lab{t: t, pod: server.Run(t, pod), config: config.Default()}
	l.config.NodeName, l.config.Namespace = apitest.Node, l.pod.Namespace
	l.ask(probes.CauseDisconnected)
	return l
}

// ask makes the Request anew, from the cached pod, for a cause.
func (l *lab) ask(cause probes.Cause) {
	l.t.Helper()
	policy, err := config.ParsePolicy(l.pod, l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	l.request = controllers.Request{Pod: l.pod, Policy: policy, Decision: decision(cause), State: failed(cause), Volume: probes.Volume{
		Backend: probes.Backend{Kind: probes.BackendCSI, Name: "fuse.csi.example"}, PodUID: string(l.pod.UID), Device: "0:77", Source: "src",
	}}
}

// target is the mount of every pod.
var target = probes.Target{Container: "app", Volume: "data", Path: "/data"}

func broken(cause probes.Cause) probes.Observation {
	return probes.Observation{Target: target, Health: probes.Broken, Cause: cause}
}

func decision(cause probes.Cause) verdict.Decision {
	return verdict.Decision{Remediate: true, Failures: []verdict.Failure{{Observation: broken(cause), Looks: 3, Definitive: cause.Definitive()}}}
}

// failed is the state that the decision is made from.
func failed(cause probes.Cause) verdict.State {
	return verdict.State{target: {Phase: verdict.Failed, Looks: 3, Observation: broken(cause)}}
}

func (l *lab) act() controllers.Result {
	l.t.Helper()
	return l.remediator(server.Config).Remediate(apitest.Context(l.t), l.request)
}

// remediator returns one that talks to the API server of config, with a ledger of the test's own.
func (l *lab) remediator(config *rest.Config) *remediate.Remediator {
	l.t.Helper()
	client := l.traffic.Client(l.t, config)
	clock := func() time.Time { return now.Add(l.later) }
	return remediate.New(remediate.Options{
		Client: client, Cached: &l.world, Node: &l.world, Follower: &l.world, Ledger: ledger.NewStore(client, l.config, clock), Config: l.config,
		Now: clock, ClusterTime: func(local time.Time) time.Time { return local },
	})
}

// requireUntouched checks that nothing was asked of the API server that could have removed the pod, and that the
// pod is as it was.
func (l *lab) requireUntouched() {
	l.t.Helper()
	if sent := l.traffic.Removals(); len(sent) > 0 {
		l.t.Errorf("sent %v, want no request that removes a pod", sent)
	}
	if live := server.Get(l.t, l.pod); live.UID != l.pod.UID || live.DeletionTimestamp != nil {
		l.t.Errorf("the pod is not as it was: UID %s, deleted at %v", live.UID, live.DeletionTimestamp)
	}
}

func (l *lab) requireResult(got controllers.Result, outcome controllers.Outcome, action config.Action, held controllers.Held) {
	l.t.Helper()
	if got.Outcome != outcome || got.Action != action || got.Held != held {
		l.t.Errorf("got %+v, want outcome %q, action %q, held %q", got, outcome, action, held)
	}
	if got.Message == "" {
		l.t.Error("the Result has no message")
	}
}

func (l *lab) requireRemovals(want ...string) {
	l.t.Helper()
	if got := l.traffic.Removals(); fmt.Sprint(got) != fmt.Sprint(want) {
		l.t.Errorf("requests that remove a pod: %v, want %v", got, want)
	}
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func bare(p *corev1.Pod) { p.OwnerReferences = nil }

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
		{name: "bare pod", prepare: []func(*corev1.Pod){bare}, held: controllers.HeldNoController},
		{name: "owner that is no controller", prepare: []func(*corev1.Pod){func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil }}, held: controllers.HeldNoController},
		{
			name: "bare pod, no longer allowed", prepare: []func(*corev1.Pod){bare, annotate(config.AnnotationAllowUnmanaged, "true")},
			change: annotate(config.AnnotationAllowUnmanaged, "false"), held: controllers.HeldNoController,
		},
		{name: "mirror pod", prepare: []func(*corev1.Pod){mirror}, held: controllers.HeldStaticPod},
		{name: "mirror pod, unmanaged allowed", prepare: []func(*corev1.Pod){mirror, annotate(config.AnnotationAllowUnmanaged, "true")}, held: controllers.HeldStaticPod},
		{
			name: "dry run tells the other gate's reason", prepare: []func(*corev1.Pod){bare},
			config: func(c *config.Config) { c.DryRun = true }, held: controllers.HeldNoController,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, tc.prepare...)
			if tc.config != nil {
				tc.config(&l.config)
			}
			if tc.change != nil {
				server.Change(t, l.pod, tc.change)
			}
			l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, tc.held)
			l.requireUntouched()
		})
	}
}

func TestOnlyRunningPods(t *testing.T) {
	for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown} {
		t.Run(string(phase), func(t *testing.T) {
			l := newLab(t)
			server.ChangeStatus(t, l.pod, func(s *corev1.PodStatus) { s.Phase = phase })
			l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
			l.requireUntouched()
		})
	}
}

func TestTerminatingPodIsLeftAlone(t *testing.T) {
	l := newLab(t)
	server.Delete(t, l.pod)
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
	l.requireRemovals()
}

func TestRequestWithoutEvidenceRemovesNothing(t *testing.T) {
	l := newLab(t)
	l.request.Decision = verdict.Decision{}
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotConfirmed)
	l.requireUntouched()
}

func TestZeroPolicyRemovesNothing(t *testing.T) {
	l := newLab(t)
	l.request.Policy = config.Policy{}
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldReportMode)
	l.requireUntouched()
}

func TestGonePod(t *testing.T) {
	l := newLab(t)
	server.Vanish(t, l.pod)
	l.requireResult(l.act(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	l.requireRemovals()
}

func TestAnotherPodUnderTheSameName(t *testing.T) {
	l := newLab(t)
	server.Vanish(t, l.pod)
	successor := server.Run(t, apitest.NewPod(l.pod.Namespace, l.pod.Name))
	l.requireResult(l.act(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	l.pod = successor
	l.requireUntouched()
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
		{"unmanaged, allowed", func(p *corev1.Pod) { bare(p); annotate(config.AnnotationAllowUnmanaged, "true")(p) }, 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, tc.prepare)
			l.requireResult(l.act(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
			l.requireRemovals("evict")
			l.requireTerminating(tc.grace)
		})
	}
}

func TestDelete(t *testing.T) {
	for _, tc := range []struct{ own, grace int64 }{{30, 30}, {5, 5}, {0, 1}} {
		t.Run(fmt.Sprintf("grace %d", tc.own), func(t *testing.T) {
			l := newLab(t, withGrace(tc.own), annotate(config.AnnotationAction, "Delete"))
			l.requireResult(l.act(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
			l.requireRemovals("delete")
			l.requireTerminating(tc.grace)
		})
	}
}

// The live object's action counts: its owner may just have decided against a deletion past the budgets.
func TestActionIsTheLiveObjects(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	server.Change(t, l.pod, annotate(config.AnnotationAction, "Evict"))
	l.requireResult(l.act(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	l.requireRemovals("evict")
}

func withGrace(seconds int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = &seconds }
}

func (l *lab) requireTerminating(grace int64) {
	l.t.Helper()
	live := server.Get(l.t, l.pod)
	if live.UID != l.pod.UID || live.DeletionTimestamp == nil {
		l.t.Fatalf("the pod is not terminating: %+v", live.ObjectMeta)
	}
	if got := live.DeletionGracePeriodSeconds; got == nil || *got != grace {
		l.t.Errorf("grace is %v, want %d", got, grace)
	}
}

// The same Request again must not remove anything twice.
func TestAskedTwice(t *testing.T) {
	l := newLab(t)
	l.requireResult(l.act(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldNotRunning)
	l.requireRemovals("evict")
}

func TestForeignUIDIsNeverHit(t *testing.T) {
	l := newLab(t)
	l.request.Pod = l.request.Pod.DeepCopy()
	l.request.Pod.UID = types.UID("judged")
	l.requireResult(l.act(), controllers.OutcomeGone, config.ActionEvict, controllers.HeldNone)
	l.requireUntouched()
}

func TestStoppedAgentRemovesNothing(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got := l.remediator(server.Config).Remediate(ctx, l.request)
	l.requireResult(got, controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	l.requireUntouched()
}
