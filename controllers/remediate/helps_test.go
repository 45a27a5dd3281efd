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

// requireHeld checks that the pod stays for that reason, that nothing was asked that could remove it, and that its removal does not
// count in any budget.
func (l *lab) requireHeld(reason controllers.Held, says ...string) {
	l.t.Helper()
	got := l.act()
	l.requireResult(got, controllers.OutcomeHeld, config.ActionEvict, reason)
	for _, text := range says {
		if !strings.Contains(got.Message, text) {
			l.t.Errorf("%q does not say %q", got.Message, text)
		}
	}
	l.requireUntouched()
	l.requireNoEntry()
}

func (l *lab) requireNoEntry() {
	l.t.Helper()
	lease, err := server.Client.CoordinationV1().Leases(l.config.Namespace).Get(l.t.Context(), "mountwarden-ledger", metav1.GetOptions{})
	if err == nil && strings.Contains(lease.Annotations["mountwarden.io/ledger"], string(l.pod.UID)) {
		l.t.Errorf("the pod stands in the ledger: %s", lease.Annotations["mountwarden.io/ledger"])
	}
}

func (l *lab) requireEvicted() {
	l.t.Helper()
	l.requireResult(l.act(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	l.requireRemovals("evict")
	if f := l.world.followed; len(f) != 1 || f[0].PodUID != l.pod.UID || f[0].Node != l.config.NodeName || f[0].Owner.UID != l.pod.OwnerReferences[0].UID {
		l.t.Errorf("followed are %+v, want the pod", f)
	}
}

func TestPaused(t *testing.T) {
	for _, kind := range []string{"Namespace", "Node"} {
		for _, why := range []string{"maintenance of the store", ""} {
			t.Run(kind+why, func(t *testing.T) {
				l := newLab(t)
				name := map[string]string{"Namespace": l.pod.Namespace, "Node": l.config.NodeName}[kind]
				l.world.paused = map[string]string{kind + "/" + name: why}
				l.requireHeld(controllers.HeldPaused, kind, name, why)
				l.world.paused = nil
				l.requireEvicted()
			})
		}
	}
}

func TestPausesOfOthers(t *testing.T) {
	l := newLab(t)
	l.world.paused = map[string]string{"Namespace/other": "x", "Node/other": "x"}
	l.requireEvicted()
}

// Whether something is paused is not known, so nothing is removed.
func TestACacheThatCannotBeRead(t *testing.T) {
	l := newLab(t)
	l.world.blind = errors.New("no such informer")
	l.requireResult(l.act(), controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
	l.requireUntouched()
}

func TestFreshMount(t *testing.T) {
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
			probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendCSI, sibling(verdict.Healthy, "src", 0), true, true,
		},
		"a server that is out of the agent's reach only": {probes.MountReadiness{Readiness: probes.NotReady}, probes.BackendNFS, sibling(verdict.Healthy, "src", 0), true, false},
		"a sibling of another source":                    {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, sibling(verdict.Healthy, "other", 0), true, true},
		"a sibling that is broken too":                   {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, sibling(verdict.Failed, "src", 0), true, true},
		"a sibling out of sight":                         {probes.MountReadiness{Readiness: probes.NotReady, Detail: "the driver is away"}, probes.BackendNFS, sibling(verdict.Healthy, "src", 1), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.world.freshness, l.config.CheckBackends = tc.answer, tc.check
			l.request.Volume.Backend.Kind = tc.backend
			l.request.Mounts = []controllers.Status{tc.sibling}
			if tc.held {
				l.requireHeld(controllers.HeldNoFreshMount, "the driver is away")
			} else {
				l.requireEvicted()
			}
			if asked := l.world.asked; tc.check != (len(asked) == 1 && asked[0] == l.request.Volume) {
				t.Errorf("asked %+v", asked)
			}
		})
	}
}

// The successor needs every mount of the pod: one that is broken beside the reason is asked about, too.
func TestAnotherBrokenMount(t *testing.T) {
	away := probes.MountReadiness{Readiness: probes.NotReady, Detail: "the server is away"}
	for name, tc := range map[string]struct {
		other answers
		count int // of broken mounts beside the reason, of one volume
		held  controllers.Held
		says  string
	}{
		"none, where it would fail":    {answers{freshness: away}, 0, "", ""},
		"a fresh one would succeed":    {answers{}, 2, "", ""},
		"a fresh one would fail":       {answers{freshness: away}, 2, controllers.HeldNoFreshMount, "the server is away"},
		"its staged volume is in use":  {answers{consumers: probes.Consumers{Staged: "/global", PodUIDs: []string{"stranger"}}}, 1, controllers.HeldSharedVolume, "UID stranger"},
		"its staged volume is its own": {answers{consumers: probes.Consumers{Staged: "/global"}}, 1, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.world.other = &tc.other
			for range tc.count {
				l.request.Others = append(l.request.Others, probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS}, PodUID: string(l.pod.UID), Source: "other", Device: otherDevice})
			}
			if tc.held != "" {
				l.requireHeld(tc.held, tc.says)
				return
			}
			l.requireEvicted()
			if want := 1 + min(tc.count, 1); len(l.world.asked) != want {
				t.Errorf("asked about %+v, want %d volumes", l.world.asked, want)
			}
		})
	}
}

func sibling(phase verdict.Phase, source string, unseen int) controllers.Status {
	return controllers.Status{PodUID: "sibling", Mount: verdict.Mount{Phase: phase, Unseen: unseen, Observation: probes.Observation{Source: source}}}
}

// All who use a staged mount go together, or none does.
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

		// They wait for each other for ever if that counts.
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
			l := newLab(t)
			l.world.consumers = probes.Consumers{Staged: tc.staged, PodUIDs: []string{string(l.pod.UID), "other"}}
			l.world.pods, l.request.Mounts = tc.pods, tc.mounts
			if tc.says != "" {
				l.requireHeld(controllers.HeldSharedVolume, tc.says)
				return
			}
			l.requireEvicted()
			if shares := l.world.followed[0].Case != ""; shares != (tc.staged != "") {
				t.Errorf("the case is %q", l.world.followed[0].Case)
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
			l := newLab(t)
			l.request.Pod = l.request.Pod.DeepCopy()
			l.request.Pod.Status.Conditions = tc.ready
			if tc.gate != "" {
				l.request.Pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: tc.gate}}
			}
			l.request.Decision.Failures[0].Confirmed = now.Add(-tc.confirmed)
			if !tc.held {
				l.requireEvicted()
				return
			}
			l.requireHeld(controllers.HeldLeavingService)
			if got := l.act(); got.RetryAfter > 2*time.Second {
				t.Errorf("asks again only after %s", got.RetryAfter)
			}
		})
	}
}

// asked is a ledger that notes what it is asked, and refuses.
type asked struct {
	deaf
	ask ledger.Ask
}

func (l *asked) Refuse(_ context.Context, a ledger.Ask) (*ledger.Refusal, error) {
	l.ask = a
	return &ledger.Refusal{Held: controllers.HeldBackendStorm, Message: "no", RetryAfter: time.Second}, nil
}

// Pods that hang, and may recover, do not make one whose daemon has died wait as one of many; the reverse is no proof either way.
func TestWhatFailsTogether(t *testing.T) {
	backend := probes.Backend{Kind: probes.BackendCSI, Name: "fuse.csi.example"}
	var mounts []controllers.Status
	for i, cause := range []probes.Cause{probes.CauseHung, probes.CauseIOError, probes.CauseDisconnected, probes.CauseHung, probes.CauseNotMounted} {
		mounts = append(mounts, controllers.Status{
			PodUID: types.UID(fmt.Sprint(i)), Backend: backend, Mount: verdict.Mount{Phase: verdict.Failed, Observation: broken(cause)},
		})
	}
	for cause, want := range map[probes.Cause]int{probes.CauseDisconnected: 2, probes.CauseHung: 5} {
		t.Run(string(cause), func(t *testing.T) {
			l := newLab(t)
			l.ask(cause)
			l.request.Volume.Backend, l.request.Mounts = backend, mounts
			books := &asked{}
			o := l.remediator(server.Config).Options
			o.Ledger = books
			l.requireResult(remediate.New(o).Remediate(apitest.Context(t), l.request), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldBackendStorm)
			if books.ask.Failing != want {
				t.Errorf("%d fail together, want %d", books.ask.Failing, want)
			}
		})
	}
}

// deaf is a ledger that grants everything and does not hear of the rest.
type deaf struct{ reserve, release error }

func (d deaf) Refuse(context.Context, ledger.Ask) (*ledger.Refusal, error) { return nil, nil }
func (d deaf) Release(context.Context, types.UID, time.Time) error         { return d.release }
func (d deaf) Reserve(context.Context, ledger.Ask) (time.Duration, *ledger.Refusal, error) {
	return ledger.ActWithin, nil, d.reserve
}

// What may stand in the ledger and is not done is left to the follower to give back.
func TestWhatCannotBeGivenBack(t *testing.T) {
	for name, tc := range map[string]struct {
		ledger   deaf
		recalled int
	}{
		"given back":            {deaf{}, 0},
		"not given back":        {deaf{release: errors.New("conflict")}, 1},
		"not known to be noted": {deaf{reserve: errors.New("timeout")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.budget("none", 0)
			o := l.remediator(server.Config).Options
			o.Ledger = tc.ledger
			remediate.New(o).Remediate(apitest.Context(t), l.request)
			if live := server.Get(t, l.pod); live.DeletionTimestamp != nil {
				t.Error("the pod was removed")
			}
			if l.world.recalled != tc.recalled {
				t.Errorf("recalled %d times, want %d", l.world.recalled, tc.recalled)
			}
		})
	}
}

// What the ledger refuses is told with its reason, and asked again when it can change.
func TestTheLedgerRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		config func(*config.Config)
		second func(l *lab) // changes the request for a second pod
		held   controllers.Held
	}{
		"budget": {func(c *config.Config) { c.Budgets.Node = 1 }, func(l *lab) {
			l.request.Pod.OwnerReferences[0].UID = "another"
			l.request.Volume.Backend.Name = "another"
		}, controllers.HeldRateLimit},
		"owner": {func(*config.Config) {}, func(l *lab) { l.request.Volume.Backend.Name = "another" }, controllers.HeldOwnerBusy},
		"storm": {func(c *config.Config) { c.Storm.Threshold = 1 }, func(l *lab) { l.request.Pod.OwnerReferences[0].UID = "another" }, controllers.HeldBackendStorm},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			tc.config(&l.config)
			l.requireEvicted()
			first := l.pod
			l.request.Pod = first.DeepCopy()
			l.request.Pod.UID = types.UID("second")
			tc.second(l)
			got := l.act()
			l.requireResult(got, controllers.OutcomeHeld, config.ActionEvict, tc.held)
			l.requireRemovals("evict")
			if got.RetryAfter <= 0 || len(l.world.followed) != 1 {
				t.Errorf("%+v, followed %d", got, len(l.world.followed))
			}
		})
	}
}

// A dry run takes nothing from anybody, and needs no right to.
func TestADryRunKeepsNoLedger(t *testing.T) {
	l := newLab(t)
	l.config.DryRun = true
	l.requireHeld(controllers.HeldDryRun, "evict")
	list, err := server.Client.CoordinationV1().Leases(l.config.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) > 0 {
		t.Errorf("%d leases, %v", len(list.Items), err)
	}
}
