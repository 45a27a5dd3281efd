package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/remediate"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// requireHeld checks that the pod is held for that reason, that no request could have evicted it,
// and that its eviction does not count in any budget.
func (s *scenario) requireHeld(reason controllers.Held, says ...string) {
	s.t.Helper()
	got := s.remediate()
	s.requireResult(got, controllers.OutcomeHeld, config.ActionEvict, reason)
	for _, text := range says {
		if !strings.Contains(got.Message, text) {
			s.t.Errorf("%q does not say %q", got.Message, text)
		}
	}
	s.requireUntouched()
	s.requireNoEntry()
}

func (s *scenario) requireNoEntry() {
	s.t.Helper()
	lease, err := server.Client.CoordinationV1().Leases(s.config.Namespace).Get(s.t.Context(), "mountwarden-ledger", metav1.GetOptions{})
	if err == nil && strings.Contains(lease.Annotations["mountwarden.io/ledger"], string(s.pod.UID)) {
		s.t.Errorf("the pod stands in the ledger: %s", lease.Annotations["mountwarden.io/ledger"])
	}
}

func (s *scenario) requireEvicted() {
	s.t.Helper()
	s.requireResult(s.remediate(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	s.requireRemovals("evict")
	if f := s.fakes.followed; len(f) != 1 || f[0].PodUID != s.pod.UID || f[0].Node != s.config.NodeName || f[0].Owner.UID != s.pod.OwnerReferences[0].UID {
		s.t.Errorf("followed are %+v, want the pod", f)
	}
}

func TestPaused(t *testing.T) {
	for _, kind := range []string{"Namespace", "Node"} {
		for _, why := range []string{"maintenance of the store", ""} {
			t.Run(kind+why, func(t *testing.T) {
				s := newScenario(t)
				name := map[string]string{"Namespace": s.pod.Namespace, "Node": s.config.NodeName}[kind]
				s.fakes.paused = map[string]string{kind + "/" + name: why}
				s.requireHeld(controllers.HeldPaused, kind, name, why)
				s.fakes.paused = nil
				s.requireEvicted()
			})
		}
	}
}

func TestPausesOfOthers(t *testing.T) {
	s := newScenario(t)
	s.fakes.paused = map[string]string{"Namespace/other": "x", "Node/other": "x"}
	s.requireEvicted()
}

// It is not known whether something is paused, so nothing is evicted.
func TestACacheThatCannotBeRead(t *testing.T) {
	s := newScenario(t)
	s.fakes.cacheErr = errors.New("no such informer")
	s.requireResult(s.remediate(), controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	s.requireUntouched()
}

func TestBackendReady(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  probes.MountReadiness
		backend probes.BackendKind
		sibling controllers.Status
		check   bool
		held    bool
	}{
		"nothing tells":     {probes.MountReadiness{}, probes.BackendCSI, controllers.Status{}, true, false},
		"ready":             {probes.MountReadiness{Readiness: probes.Ready}, probes.BackendCSI, controllers.Status{}, true, false},
		"not ready":         {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendCSI, controllers.Status{}, true, true},
		"not to be checked": {probes.MountReadiness{Readiness: probes.NotReady}, probes.BackendCSI, controllers.Status{}, false, false},
		"a driver that is away, while older mounts live": {
			probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendCSI, newSibling(verdict.Healthy, "src", 0), true, true,
		},
		"a server that is out of the agent's reach only": {probes.MountReadiness{Readiness: probes.NotReady}, probes.BackendNFS, newSibling(verdict.Healthy, "src", 0), true, false},
		"a sibling of another source":                    {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, newSibling(verdict.Healthy, "other", 0), true, true},
		"a sibling that is broken too":                   {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, newSibling(verdict.Failed, "src", 0), true, true},
		"a sibling out of sight":                         {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, newSibling(verdict.Healthy, "src", 1), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.fakes.freshness, s.config.CheckBackends = tc.answer, tc.check
			s.request.Volume.Backend.Kind = tc.backend
			s.request.Mounts = []controllers.Status{tc.sibling}
			if tc.held {
				s.requireHeld(controllers.HeldNoFreshMount, "the driver is away")
			} else {
				s.requireEvicted()
			}
			if asked := s.fakes.asked; tc.check != (len(asked) == 1 && asked[0] == s.request.Volume) {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// The replacement needs every mount of the pod: one that is broken beside the reason is asked
// about, too.
func TestAnotherBrokenMount(t *testing.T) {
	away := probes.MountReadiness{Readiness: probes.NotReady, Detail: "the server is away"}
	for name, tc := range map[string]struct {
		other volumeAnswers
		count int // of broken mounts beside the reason, of one volume
		held  controllers.Held
		says  string
	}{
		"none, where it would fail":    {volumeAnswers{freshness: away}, 0, "", ""},
		"a fresh one would succeed":    {volumeAnswers{}, 2, "", ""},
		"a fresh one would fail":       {volumeAnswers{freshness: away}, 2, controllers.HeldNoFreshMount, "the server is away"},
		"its staged volume is in use":  {volumeAnswers{consumers: probes.Consumers{Staged: "/global", PodUIDs: []string{"stranger"}}}, 1, controllers.HeldSharedVolume, "UID stranger"},
		"its staged volume is its own": {volumeAnswers{consumers: probes.Consumers{Staged: "/global"}}, 1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.fakes.other = &tc.other
			for range tc.count {
				s.request.Others = append(s.request.Others, probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS}, PodUID: string(s.pod.UID), Source: "other", Device: otherDevice})
			}
			if tc.held != "" {
				s.requireHeld(tc.held, tc.says)
				return
			}
			s.requireEvicted()
			if want := 1 + min(tc.count, 1); len(s.fakes.asked) != want {
				t.Errorf("asked about %+v, want %d volumes", s.fakes.asked, want)
			}
		})
	}
}

func newSibling(phase verdict.Phase, source string, unseen int) controllers.Status {
	return controllers.Status{PodUID: "sibling", Mount: verdict.Mount{Phase: phase, Unseen: unseen, Observation: probes.Observation{Source: source}}}
}

// All pods that use a staged mount are evicted together, or none is.
func TestSharedVolume(t *testing.T) {
	ending := metav1.NewTime(now)
	other := *apitest.NewPod("b", "other")
	other.UID = "other"
	changed := func(change func(*corev1.Pod)) []corev1.Pod {
		p := other.DeepCopy()
		change(p)
		return []corev1.Pod{*p}
	}
	endingPod := changed(func(p *corev1.Pod) { p.DeletionTimestamp = &ending })
	bare := func(p *corev1.Pod) { p.OwnerReferences = nil }
	heldFor := func(reason controllers.Held) []controllers.Status {
		return []controllers.Status{{
			FolderUID: "other", Mode: config.ModeRemediate, Held: reason,
			Mount: verdict.Mount{Phase: verdict.Failed, Observation: probes.Observation{Device: "0:77"}},
		}}
	}
	status := func(phase verdict.Phase, mode config.Mode, device string) controllers.Status {
		return controllers.Status{FolderUID: "other", Mode: mode, Mount: verdict.Mount{Phase: phase, Observation: probes.Observation{Device: device}}}
	}
	blockedPeer := func(cause probes.Cause) []controllers.Status {
		peer := heldFor(controllers.HeldBudget)
		peer[0].Mount.Looks, peer[0].Mount.Observation.Cause, peer[0].Mount.Observation.Finished = 2, cause, now
		return peer
	}
	for name, tc := range map[string]struct {
		staged string
		pods   []corev1.Pod
		mounts []controllers.Status
		says   string // "" is evicted
	}{
		"nothing is staged":        {"", []corev1.Pod{other}, nil, ""},
		"another is not watched":   {"/global", []corev1.Pod{other}, nil, "b/other is not watched"},
		"another is unknown":       {"/global", nil, nil, "UID other"},
		"another only reports":     {"/global", []corev1.Pod{other}, []controllers.Status{status(verdict.Failed, config.ModeReport, "0:77")}, "mode Report"},
		"another is healthy":       {"/global", []corev1.Pod{other}, []controllers.Status{status(verdict.Healthy, config.ModeRemediate, "0:77")}, "not confirmed"},
		"another is suspect":       {"/global", []corev1.Pod{other}, []controllers.Status{status(verdict.Suspect, config.ModeRemediate, "0:77")}, "not confirmed"},
		"another failed elsewhere": {"/global", []corev1.Pod{other}, []controllers.Status{status(verdict.Failed, config.ModeRemediate, "0:78")}, "not watched"},
		"another has failed too":   {"/global", []corev1.Pod{other}, []controllers.Status{status(verdict.Failed, config.ModeRemediate, "0:77")}, ""},
		"another is ending":        {"/global", endingPod, nil, ""},

		// They would wait for each other indefinitely if that counted.
		"another waits for this one": {"/global", []corev1.Pod{other}, heldFor(controllers.HeldSharedVolume), ""},
		"another waits for its turn": {"/global", []corev1.Pod{other}, heldFor(controllers.HeldRateLimit), ""},
		"another is deleted soon":    {"/global", []corev1.Pod{other}, blockedPeer(probes.CauseStale), ""},
		"another's budget is spent":  {"/global", []corev1.Pod{other}, blockedPeer(probes.CauseIOError), "no eviction of pod b/other"},

		"another was given up":         {"/global", []corev1.Pod{other}, heldFor(controllers.HeldGaveUp), "b/other stays for the reason GaveUp"},
		"another would fail its Job":   {"/global", []corev1.Pod{other}, heldFor(controllers.HeldJobWouldFail), "JobWouldFail"},
		"another has too many budgets": {"/global", []corev1.Pod{other}, heldFor(controllers.HeldBudgetConflict), "BudgetConflict"},
		"another has no controller":    {"/global", changed(bare), heldFor(""), "b/other stays: no controller"},
		"another may go without one": {"/global", changed(func(p *corev1.Pod) {
			bare(p)
			p.Annotations[config.AnnotationAllowUnmanaged] = "true"
		}), heldFor(""), ""},
		"another is static":            {"/global", changed(func(p *corev1.Pod) { p.Annotations[corev1.MirrorPodAnnotationKey] = "x" }), heldFor(""), "static pod"},
		"another is annotated wrongly": {"/global", changed(func(p *corev1.Pod) { p.Annotations[config.AnnotationAction] = "Kill" }), heldFor(""), "not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.fakes.consumers = probes.Consumers{Staged: tc.staged, PodUIDs: []string{string(s.pod.UID), "other"}}
			s.fakes.pods, s.request.Mounts = tc.pods, tc.mounts
			if tc.says != "" {
				s.requireHeld(controllers.HeldSharedVolume, tc.says)
				return
			}
			s.requireEvicted()
			if shares := s.fakes.followed[0].Case != ""; shares != (tc.staged != "") {
				t.Errorf("the case is %q", s.fakes.followed[0].Case)
			}
		})
	}
}

func TestLeavesItsServicesFirst(t *testing.T) {
	condition := func(status corev1.ConditionStatus, age time.Duration) []corev1.PodCondition {
		return []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(now.Add(-age))}}
	}
	for name, tc := range map[string]struct {
		gate      corev1.PodConditionType
		ready     []corev1.PodCondition
		confirmed time.Duration // how long ago
		held      bool
	}{
		"no gate":                         {"", condition(corev1.ConditionTrue, time.Hour), 0, false},
		"another gate":                    {"example.com/x", condition(corev1.ConditionTrue, time.Hour), 0, false},
		"still ready":                     {controllers.ConditionMountsHealthy, condition(corev1.ConditionTrue, time.Hour), 0, true},
		"no condition":                    {controllers.ConditionMountsHealthy, nil, 0, true},
		"unready this moment":             {controllers.ConditionMountsHealthy, condition(corev1.ConditionFalse, 0), 2 * time.Second, true},
		"unready for a second":            {controllers.ConditionMountsHealthy, condition(corev1.ConditionFalse, time.Second), 2 * time.Second, false},
		"the kubelet does not follow":     {controllers.ConditionMountsHealthy, condition(corev1.ConditionTrue, time.Hour), 11 * time.Second, false},
		"the kubelet has a moment longer": {controllers.ConditionMountsHealthy, condition(corev1.ConditionTrue, time.Hour), 10 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.request.Pod = s.request.Pod.DeepCopy()
			s.request.Pod.Status.Conditions = tc.ready
			if tc.gate != "" {
				s.request.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: tc.gate}}
			}
			s.request.Decision.Failures[0].Confirmed = now.Add(-tc.confirmed)
			if !tc.held {
				s.requireEvicted()
				return
			}
			s.requireHeld(controllers.HeldLeavingService)
			if got := s.remediate(); got.RetryAfter > 2*time.Second {
				t.Errorf("asks again only after %s", got.RetryAfter)
			}
		})
	}
}

// recordingLedger is a ledger that records what it is asked, and refuses.
type recordingLedger struct {
	grantingLedger
	ask ledger.Ask
}

func (l *recordingLedger) Refuse(_ context.Context, a ledger.Ask) (*ledger.Refusal, error) {
	l.ask = a
	return &ledger.Refusal{Held: controllers.HeldBackendStorm, Message: "no", RetryAfter: time.Second}, nil
}

// Pods that hang, and may recover, do not make one whose daemon has died wait as one of many. Pods
// whose daemon has died do count for one that hangs.
func TestWhatFailsTogether(t *testing.T) {
	backend := probes.Backend{Kind: probes.BackendCSI, Name: "fuse.csi.example"}
	var mounts []controllers.Status
	for i, cause := range []probes.Cause{probes.CauseHung, probes.CauseIOError, probes.CauseDisconnected, probes.CauseHung, probes.CauseNotMounted} {
		mounts = append(mounts, controllers.Status{
			PodUID: types.UID(fmt.Sprint(i)), Backend: backend, Mount: verdict.Mount{Phase: verdict.Failed, Observation: newBroken(cause)},
		})
	}
	for cause, want := range map[probes.Cause]int{probes.CauseDisconnected: 2, probes.CauseHung: 5} {
		t.Run(string(cause), func(t *testing.T) {
			s := newScenario(t)
			s.setCause(cause)
			s.request.Volume.Backend, s.request.Mounts = backend, mounts
			recorder := &recordingLedger{}
			o := s.newRemediator(server.Config).Options
			o.Ledger = recorder
			s.requireResult(remediate.New(o).Remediate(apitest.Context(t), s.request), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldBackendStorm)
			if recorder.ask.Failing != want {
				t.Errorf("%d fail together, want %d", recorder.ask.Failing, want)
			}
		})
	}
}

// grantingLedger is a ledger that grants everything, and may fail to reserve or release it.
type grantingLedger struct{ reserve, release error }

func (d grantingLedger) Refuse(context.Context, ledger.Ask) (*ledger.Refusal, error) { return nil, nil }
func (d grantingLedger) Release(context.Context, types.UID, time.Time) error         { return d.release }
func (d grantingLedger) Reserve(context.Context, ledger.Ask) (time.Duration, *ledger.Refusal, error) {
	return ledger.ActWithin, nil, d.reserve
}

// What may be in the ledger and is not done is left to the follower to give back.
func TestWhatCannotBeGivenBack(t *testing.T) {
	for name, tc := range map[string]struct {
		ledger   grantingLedger
		recalled int
	}{
		"given back":            {grantingLedger{}, 0},
		"not given back":        {grantingLedger{release: errors.New("conflict")}, 1},
		"not known to be noted": {grantingLedger{reserve: errors.New("timeout")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.createBudget("none", 0)
			o := s.newRemediator(server.Config).Options
			o.Ledger = tc.ledger
			remediate.New(o).Remediate(apitest.Context(t), s.request)
			if live := server.Get(t, s.pod); live.DeletionTimestamp != nil {
				t.Error("the pod was removed")
			}
			if s.fakes.recalled != tc.recalled {
				t.Errorf("recalled %d times, want %d", s.fakes.recalled, tc.recalled)
			}
		})
	}
}

// What the ledger refuses has its reason, and is asked again when it can change.
func TestTheLedgerRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		config func(*config.Config)
		second func(s *scenario) // changes the request for a second pod
		held   controllers.Held
	}{
		"budget": {func(c *config.Config) { c.Budgets.Node = 1 }, func(s *scenario) {
			s.request.Pod.OwnerReferences[0].UID = "another"
			s.request.Volume.Backend.Name = "another"
		}, controllers.HeldRateLimit},
		"owner": {func(*config.Config) {}, func(s *scenario) { s.request.Volume.Backend.Name = "another" }, controllers.HeldOwnerBusy},
		"storm": {func(c *config.Config) { c.Storm.Threshold = 1 }, func(s *scenario) { s.request.Pod.OwnerReferences[0].UID = "another" }, controllers.HeldBackendStorm},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			tc.config(&s.config)
			s.requireEvicted()
			first := s.pod
			s.request.Pod = first.DeepCopy()
			s.request.Pod.UID = types.UID("second")
			tc.second(s)
			got := s.remediate()
			s.requireResult(got, controllers.OutcomeHeld, config.ActionEvict, tc.held)
			s.requireRemovals("evict")
			if got.RetryAfter <= 0 || len(s.fakes.followed) != 1 {
				t.Errorf("%+v, followed %d", got, len(s.fakes.followed))
			}
		})
	}
}

// A dry run takes nothing from any budget, and needs no permission for it.
func TestADryRunKeepsNoLedger(t *testing.T) {
	s := newScenario(t)
	s.config.DryRun = true
	s.requireHeld(controllers.HeldDryRun, "evict")
	list, err := server.Client.CoordinationV1().Leases(s.config.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d leases, %v", len(list.Items), err)
	}
}
