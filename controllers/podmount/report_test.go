package podmount_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/probes"
)

func TestDefinitiveFailureIsRemovedOnce(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 2)
	w.breakMount("/data", probes.CauseDisconnected)
	broken := w.clock()
	w.reconcileTimes(t, r, pod, 2)
	asked := w.copyRequests()
	if len(asked) != 1 {
		t.Fatalf("asked %d times for the removal, want once", len(asked))
	}
	reason, _ := asked[0].Decision.Reason()
	if asked[0].Pod.UID != pod.UID || asked[0].Policy.Mode != config.ModeRemediate || !asked[0].Decision.Definitive() || !asked[0].BlockedSince.IsZero() {
		t.Errorf("asked %+v", asked[0])
	}
	if took := reason.Confirmed.Sub(broken); took != 10*time.Millisecond {
		t.Errorf("confirmed after %s, want 10 ms", took)
	}
	w.reconcileTimes(t, r, pod, 5) // the cache is behind: the pod seems to run
	if n := len(w.copyRequests()); n != 1 {
		t.Errorf("asked %d times for the removal of one pod", n)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonPodRemediated}, w.listReasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(w.detected) != 1 || cmp.Diff([]controllers.Outcome{controllers.OutcomeEvicted}, w.counted) != "" {
		t.Errorf("counted %v, detected %v", w.counted, w.detected)
	}
}

// A healthy mount is never a reason to act, whatever is wrong around it; that is reported once.
func TestWarnings(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.warning = probes.WarningHostBroken
	w.reconcileTimes(t, r, pod, 5)
	told := w.listEvents("Pod", controllers.ReasonMountWarning)
	if len(told) != 1 || !strings.Contains(told[0].note, "HostBroken") || !strings.Contains(told[0].note, "the pod stays") {
		t.Errorf("told %+v", told)
	}
	w.warning = probes.WarningNone
	w.reconcileTimes(t, r, pod, 2)
	w.warning = probes.WarningNoSpace
	w.reconcileTimes(t, r, pod, 2)
	if told = w.listEvents("Pod", controllers.ReasonMountWarning); len(told) != 2 || len(w.events) != 2*len(told) || len(w.copyRequests()) != 0 {
		t.Errorf("told %+v, %d removals", told, len(w.copyRequests()))
	}
}

func TestHealthIsNoNews(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	w.putObject(pod)
	w.reconcileTimes(t, w.newReconciler(t), pod, 20)
	if len(w.events) != 0 || len(w.copyRequests()) != 0 || len(w.counted) != 0 {
		t.Errorf("events %v, removals %v", w.events, w.copyRequests())
	}
}

// A hold is reported when its reason changes, not at every probe. A reason that comes and goes is
// not reported at every change.
func TestHoldIsReportedOncePerReason(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	no, dry := newHeld(controllers.HeldNoController), newHeld(controllers.HeldDryRun)
	w.answers = []controllers.Result{no, no, no, dry, dry, no}
	w.reconcileTimes(t, r, pod, 9)
	if n := len(w.copyRequests()); n != 8 {
		t.Errorf("asked %d times, want at every look after the failure, 8", n)
	}
	var actions []string
	for _, e := range w.listEvents("Pod", controllers.ReasonRemediationHeld) {
		actions = append(actions, e.action)
	}
	if diff := cmp.Diff([]string{"EvictNoController", "EvictDryRun"}, actions); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(w.counted) != 2 {
		t.Errorf("counted %v, want one for each reason", w.counted)
	}
	w.advanceClock(5 * time.Minute)
	w.answers = []controllers.Result{dry, dry}
	w.reconcileTimes(t, r, pod, 2)
	if n := len(w.listEvents("Pod", controllers.ReasonRemediationHeld)); n != 3 {
		t.Errorf("%d events, want a third when the last of its reason is 5 minutes old", n)
	}
	w.answers = []controllers.Result{no}
	w.reconcileTimes(t, r, pod, 1)
	if got := r.Statuses()[0].Held; got != controllers.HeldNoController {
		t.Errorf("held for %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		result controllers.Result
		reason string // of the event; "" is none
		kind   string
		again  bool // requested again at the next probe
	}{
		{evicted, controllers.ReasonPodRemediated, corev1.EventTypeNormal, false},
		{controllers.Result{Outcome: controllers.OutcomeDeleted, Action: config.ActionDelete, Message: "m"}, controllers.ReasonPodRemediated, corev1.EventTypeNormal, false},
		{newHeld(controllers.HeldBudgetConflict), controllers.ReasonRemediationHeld, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeFailed, Action: config.ActionEvict, Held: controllers.HeldAPIError, Message: "m"}, controllers.ReasonRemediationHeld, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, Message: "m"}, controllers.ReasonRemediationBlocked, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeGone, Action: config.ActionEvict, Message: "m"}, "", "", true},
		{controllers.Result{Outcome: controllers.OutcomeHealthy, Action: config.ActionEvict, Held: controllers.HeldNotConfirmed, Message: "m"}, "", "", true},
	} {
		t.Run(string(tc.result.Outcome), func(t *testing.T) {
			w, pod := newFakeNode(), newPod("app", nil)
			r := w.newReconciler(t)
			w.putObject(pod)
			w.breakMount("/data", probes.CauseStale)
			w.answers = []controllers.Result{tc.result}
			w.reconcileTimes(t, r, pod, 3)
			if again := len(w.copyRequests()) == 2; again != tc.again {
				t.Errorf("asked %d times", len(w.copyRequests()))
			}
			want := []string{controllers.ReasonMountUnhealthy}
			if tc.reason != "" {
				want = append(want, tc.reason)
				last := w.listEvents("Pod", tc.reason)[0]
				if last.kind != tc.kind || last.action == "" || !strings.HasPrefix(last.note, tc.result.Message+". container app, /data") {
					t.Errorf("event %+v", last)
				}
			}
			if diff := cmp.Diff(want, w.listReasons()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// Many pods that are held because of one backend are reported once, on the node, while each pod
// still says why it is held.
func TestAnUnhealthyBackendIsReportedOnce(t *testing.T) {
	w := newFakeNode()
	r := w.newReconciler(t)
	w.breakMount("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{newHeld(controllers.HeldBackendStorm)}
	for _, name := range []string{"one", "two", "three"} {
		pod := newPod(name, nil)
		w.putObject(pod)
		w.reconcileTimes(t, r, pod, 3)
	}
	if told := w.listEvents("Node", controllers.ReasonBackendUnhealthy); len(told) != 1 || told[0].regarding.Name != apitest.Node || !strings.Contains(told[0].note, "fuse.csi.example") {
		t.Errorf("told on the node: %+v", told)
	}
	if n := len(w.listEvents("Pod", controllers.ReasonRemediationHeld)); n != 3 {
		t.Errorf("%d pods tell that they are held, want 3", n)
	}
}

// A pod that went by itself while it was held is counted but not reported.
func TestGoneWhileHeld(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseStale)
	w.answers = []controllers.Result{newHeld(controllers.HeldDryRun), {Outcome: controllers.OutcomeGone, Message: "gone"}}
	w.reconcileTimes(t, w.newReconciler(t), pod, 3)
	if diff := cmp.Diff([]controllers.Outcome{controllers.OutcomeHeld, controllers.OutcomeGone}, w.counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonRemediationHeld}, w.listReasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// newBlocked is a refusal by a budget.
func newBlocked(retry time.Duration) controllers.Result {
	return controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, Message: "blocked", RetryAfter: retry}
}

func TestBlockedSince(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	failed := controllers.Result{Outcome: controllers.OutcomeFailed, Action: config.ActionEvict, Held: controllers.HeldAPIError, Message: "failed"}
	w.answers = []controllers.Result{newBlocked(5 * time.Second), newBlocked(3 * time.Second), failed, newHeld(controllers.HeldOptedOut), newBlocked(7 * time.Second), evicted}
	w.reconcileTimes(t, r, pod, 1)
	var waits, since []time.Duration
	first := w.clock()
	for range 6 {
		before := w.clock()
		w.reconcileTimes(t, r, pod, 1)
		waits = append(waits, w.clock().Sub(before))
		if s := w.copyRequests()[len(w.copyRequests())-1].BlockedSince; s.IsZero() {
			since = append(since, -1)
		} else {
			since = append(since, s.Sub(first))
		}
	}
	second := time.Second
	if diff := cmp.Diff([]time.Duration{5 * second, 3 * second, 10 * second, 10 * second, 7 * second, 10 * second}, waits); diff != "" {
		t.Errorf("waits: Retry-After, else and at most the period (-want +got):\n%s", diff)
	}
	// The refusals of before a hold do not count.
	if diff := cmp.Diff([]time.Duration{-1, 0, 0, 0, -1, 28 * second}, since); diff != "" {
		t.Errorf("blocked since, after the first refusal (-want +got):\n%s", diff)
	}
}

// Who only waits in turn between two refusals has been blocked since the first.
func TestBlockedWhileQueued(t *testing.T) {
	for why, kept := range map[controllers.Held]bool{
		controllers.HeldOwnerBusy: true, controllers.HeldBackendStorm: true, controllers.HeldRateLimit: true, controllers.HeldNotConfirmed: true,
		controllers.HeldPaused: false, controllers.HeldBackoff: false, controllers.HeldNoFreshMount: false, controllers.HeldOptedOut: false,
	} {
		w, pod := newFakeNode(), newPod("app", nil)
		w.putObject(pod)
		w.breakMount("/data", probes.CauseDisconnected)
		w.answers = []controllers.Result{newBlocked(time.Second), newHeld(why), newBlocked(time.Second)}
		w.reconcileTimes(t, w.newReconciler(t), pod, 4)
		if asked := w.copyRequests(); len(asked) != 3 || asked[1].BlockedSince.IsZero() || asked[2].BlockedSince.IsZero() == kept {
			t.Errorf("%s: asked %d times, blocked since %v", why, len(asked), asked)
		}
	}
}

// If the last probe found the mount healthy, earlier refusals do not count.
func TestBlockedThenFoundHealthy(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	healthy := controllers.Result{Outcome: controllers.OutcomeHealthy, Action: config.ActionEvict, Message: "healthy"}
	w.answers = []controllers.Result{newBlocked(time.Second), healthy, newBlocked(time.Second)}
	w.reconcileTimes(t, w.newReconciler(t), pod, 4)
	if asked := w.copyRequests(); len(asked) != 3 || asked[1].BlockedSince.IsZero() || !asked[2].BlockedSince.IsZero() {
		t.Errorf("asked %d times, blocked since %v", len(asked), asked)
	}
}

func TestRecoveryCancels(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationSettleSeconds: "15"})
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 3)
	w.healMount("/data")
	w.reconcileTimes(t, r, pod, 5)
	if n := len(w.copyRequests()); n != 0 {
		t.Errorf("asked %d times for the removal of a pod that recovered", n)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonMountRecovered}, w.listReasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	note := w.listEvents("Pod", controllers.ReasonMountRecovered)[0].note
	if want := "container app, /data (volume data, fuse.test from test): healthy again after 15s of Disconnected; the pod stays"; note != want {
		t.Errorf("note %q, want %q", note, want)
	}
}

// A mount that recovered after a refused eviction is reported again when it fails again, and the
// budget is asked again.
func TestRecoveryForgetsTheHold(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers = []controllers.Result{newBlocked(time.Second)}
	for range 2 {
		w.breakMount("/data", probes.CauseDisconnected)
		w.reconcileTimes(t, r, pod, 2)
		if !w.copyRequests()[len(w.copyRequests())-1].BlockedSince.IsZero() {
			t.Error("blocked since a time before the recovery")
		}
		w.healMount("/data")
		w.reconcileTimes(t, r, pod, 1)
		if held := r.Statuses()[0].Held; held != controllers.HeldNone {
			t.Errorf("a healthy pod is held for %s", held)
		}
	}
	if n := len(w.listEvents("Pod", controllers.ReasonRemediationBlocked)); n != 2 {
		t.Errorf("%d events, want one for each time", n)
	}
}

func TestSuspicionIsNotReported(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	for range 5 {
		w.breakMount("/data", probes.CauseIOError)
		w.reconcileTimes(t, r, pod, 2)
		w.healMount("/data")
		w.reconcileTimes(t, r, pod, 1)
	}
	if len(w.events) != 0 || len(w.copyRequests()) != 0 {
		t.Errorf("events %v, removals %v", w.events, w.copyRequests())
	}
}

func TestUnknownIsReportedOnce(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.unknown["/data"] = "no process of the container"
	w.reconcileTimes(t, r, pod, 10)
	if diff := cmp.Diff([]string{controllers.ReasonMountUnknown}, w.listReasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if note := w.events[0].note; note != "cannot be judged: no process of the container" {
		t.Errorf("note %q", note)
	}
	if len(w.copyRequests()) != 0 {
		t.Error("a removal was asked for a mount that nobody saw")
	}
}

func TestInvalidAnnotationIsReportedOnceAndNeverActedOn(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationPeriodSeconds: "soon"})
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{newHeld(controllers.HeldReportMode)}
	w.reconcileTimes(t, r, pod, 5)
	for _, req := range w.copyRequests() {
		if req.Policy.Mode != config.ModeReport {
			t.Fatalf("asked in mode %s", req.Policy.Mode)
		}
	}
	invalid := w.listEvents("Pod", controllers.ReasonInvalidMountPolicy)
	if len(invalid) != 1 || !strings.Contains(invalid[0].note, config.AnnotationPeriodSeconds) || !strings.Contains(invalid[0].note, "soon") {
		t.Errorf("events %+v, want one that names the annotation and its value", invalid)
	}
	for _, value := range []string{"later", "10", "soon"} { // another mistake, fixed, the same again
		pod = pod.DeepCopy()
		pod.Annotations[config.AnnotationPeriodSeconds] = value
		w.putObject(pod)
		w.reconcileTimes(t, r, pod, 3)
	}
	if n := len(w.listEvents("Pod", controllers.ReasonInvalidMountPolicy)); n != 3 {
		t.Errorf("%d events, want one for each new mistake, 3", n)
	}
}

// Each event goes to the pod and to its controller, since the pod's own vanish with it.
func TestEventsGoToPodAndOwner(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 2)
	podRef := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "default", Name: "app", UID: "app-uid"}
	mountRef := podRef
	mountRef.FieldPath = "spec.containers{app}.volumeMounts{/data}"
	owner := corev1.ObjectReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Namespace: "default", Name: "app-owner", UID: "owner-of-app"}
	type pair struct{ Regarding, Related corev1.ObjectReference }
	var got []pair
	for _, e := range w.events {
		got = append(got, pair{*e.regarding, *e.related})
	}
	if diff := cmp.Diff([]pair{{mountRef, owner}, {owner, mountRef}, {podRef, owner}, {owner, podRef}}, got); diff != "" {
		t.Errorf("regarding and related (-want +got):\n%s", diff)
	}
}

func TestEventsOfAPodWithoutOwner(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	pod.OwnerReferences = nil
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 2)
	for _, e := range w.events {
		if e.regarding.Kind != "Pod" || e.related != nil {
			t.Errorf("regarding %+v, related %+v", e.regarding, e.related)
		}
	}
	if len(w.events) != 2 {
		t.Errorf("%d events, want 2", len(w.events))
	}
}

func TestNotesFitAnEvent(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	answer := newHeld(controllers.HeldReportMode)
	answer.Message = "x" + strings.Repeat("é", 2000)
	w.answers = []controllers.Result{answer}
	w.reconcileTimes(t, r, pod, 2)
	note := w.listEvents("Pod", controllers.ReasonRemediationHeld)[0].note
	if len(note) > 1024 || !utf8.ValidString(note) || !strings.HasSuffix(note, "...") {
		t.Errorf("a note of %d bytes, ending in %q", len(note), note[len(note)-10:])
	}
}

// The reference names the list that the container stands in.
func TestEventsNameTheMount(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := newPod("app", nil)
	mount := func(path string) []corev1.VolumeMount { return []corev1.VolumeMount{{Name: "data", MountPath: path}} }
	pod.Spec.InitContainers = []corev1.Container{{Name: "side", VolumeMounts: mount("/side"), RestartPolicy: &always}}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", VolumeMounts: mount("/debug")}}}
	w := newFakeNode()
	w.putObject(pod)
	for _, path := range []string{"/data", "/side", "/debug"} {
		w.breakMount(path, probes.CauseDisconnected)
	}
	w.reconcileTimes(t, w.newReconciler(t), pod, 2)
	got := map[string]bool{}
	for _, e := range w.listEvents("Pod", controllers.ReasonMountUnhealthy) {
		got[e.regarding.FieldPath] = true
	}
	want := map[string]bool{
		"spec.containers{app}.volumeMounts{/data}": true, "spec.initContainers{side}.volumeMounts{/side}": true,
		"spec.ephemeralContainers{debug}.volumeMounts{/debug}": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// The event of a failure says what comes next.
func TestUnhealthyEventNamesTheNextStep(t *testing.T) {
	for want, annotations := range map[string]map[string]string{
		"The pod is removed now, unless":                      nil,
		"The pod is removed in 30s unless the mount recovers": {config.AnnotationSettleSeconds: "30"},
		"The pod stays: its mode is Report":                   {config.AnnotationMode: "Report"},
	} {
		w, pod := newFakeNode(), newPod("app", annotations)
		w.putObject(pod)
		w.breakMount("/data", probes.CauseDisconnected)
		w.reconcileTimes(t, w.newReconciler(t), pod, 2)
		told := w.listEvents("Pod", controllers.ReasonMountUnhealthy)
		if len(told) != 1 || !strings.Contains(told[0].note, want) {
			t.Errorf("told %+v, want %q", told, want)
		}
	}
}
