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
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.live(t, r, pod, 2)
	w.breaks("/data", probes.CauseDisconnected)
	broken := w.clock()
	w.live(t, r, pod, 2)
	asked := w.asked()
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
	w.live(t, r, pod, 5) // the cache is behind: the pod seems to run
	if n := len(w.asked()); n != 1 {
		t.Errorf("asked %d times for the removal of one pod", n)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonPodRemediated}, w.reasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(w.detected) != 1 || cmp.Diff([]controllers.Outcome{controllers.OutcomeEvicted}, w.counted) != "" {
		t.Errorf("counted %v, detected %v", w.counted, w.detected)
	}
}

// A mount that is healthy is never a reason to act, whatever is wrong around it; it is told once.
func TestWarnings(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.warning = probes.WarningHostBroken
	w.live(t, r, pod, 5)
	told := w.on("Pod", controllers.ReasonMountWarning)
	if len(told) != 1 || !strings.Contains(told[0].note, "HostBroken") || !strings.Contains(told[0].note, "the pod stays") {
		t.Errorf("told %+v", told)
	}
	w.warning = probes.WarningNone
	w.live(t, r, pod, 2)
	w.warning = probes.WarningNoSpace
	w.live(t, r, pod, 2)
	if told = w.on("Pod", controllers.ReasonMountWarning); len(told) != 2 || len(w.events) != 2*len(told) || len(w.asked()) != 0 {
		t.Errorf("told %+v, %d removals", told, len(w.asked()))
	}
}

func TestHealthIsNoNews(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	w.put(pod)
	w.live(t, w.reconciler(t), pod, 20)
	if len(w.events) != 0 || len(w.asked()) != 0 || len(w.counted) != 0 {
		t.Errorf("events %v, removals %v", w.events, w.asked())
	}
}

// What is held is told when the reason changes, not at every look, and one that comes and goes not at every change.
func TestHeldIsToldOncePerReason(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	no, dry := held(controllers.HeldNoController), held(controllers.HeldDryRun)
	w.answers = []controllers.Result{no, no, no, dry, dry, no}
	w.live(t, r, pod, 9)
	if n := len(w.asked()); n != 8 {
		t.Errorf("asked %d times, want at every look after the failure, 8", n)
	}
	var actions []string
	for _, e := range w.on("Pod", controllers.ReasonRemediationHeld) {
		actions = append(actions, e.action)
	}
	if diff := cmp.Diff([]string{"EvictNoController", "EvictDryRun"}, actions); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(w.counted) != 2 {
		t.Errorf("counted %v, want one for each reason", w.counted)
	}
	w.pass(5 * time.Minute)
	w.answers = []controllers.Result{dry, dry}
	w.live(t, r, pod, 2)
	if n := len(w.on("Pod", controllers.ReasonRemediationHeld)); n != 3 {
		t.Errorf("%d events, want a third when the last of its reason is 5 minutes old", n)
	}
	w.answers = []controllers.Result{no}
	w.live(t, r, pod, 1)
	if got := r.Statuses()[0].Held; got != controllers.HeldNoController {
		t.Errorf("held for %q", got)
	}
}

func TestOutcomes(t *testing.T) {
	for _, tc := range []struct {
		result controllers.Result
		reason string // of the event; "" is none
		kind   string
		again  bool // asked again at the next look
	}{
		{evicted, controllers.ReasonPodRemediated, corev1.EventTypeNormal, false},
		{controllers.Result{Outcome: controllers.OutcomeDeleted, Action: config.ActionDelete, Message: "m"}, controllers.ReasonPodRemediated, corev1.EventTypeNormal, false},
		{held(controllers.HeldBudgetConflict), controllers.ReasonRemediationHeld, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeFailed, Action: config.ActionEvict, Held: controllers.HeldAPIError, Message: "m"}, controllers.ReasonRemediationHeld, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, Message: "m"}, controllers.ReasonRemediationBlocked, corev1.EventTypeWarning, true},
		{controllers.Result{Outcome: controllers.OutcomeGone, Action: config.ActionEvict, Message: "m"}, "", "", true},
		{controllers.Result{Outcome: controllers.OutcomeHealthy, Action: config.ActionEvict, Held: controllers.HeldNotConfirmed, Message: "m"}, "", "", true},
	} {
		t.Run(string(tc.result.Outcome), func(t *testing.T) {
			w, pod := newWorld(), newPod("app", nil)
			r := w.reconciler(t)
			w.put(pod)
			w.breaks("/data", probes.CauseStale)
			w.answers = []controllers.Result{tc.result}
			w.live(t, r, pod, 3)
			if again := len(w.asked()) == 2; again != tc.again {
				t.Errorf("asked %d times", len(w.asked()))
			}
			want := []string{controllers.ReasonMountUnhealthy}
			if tc.reason != "" {
				want = append(want, tc.reason)
				last := w.on("Pod", tc.reason)[0]
				if last.kind != tc.kind || last.action == "" || !strings.HasPrefix(last.note, tc.result.Message+". container app, /data") {
					t.Errorf("event %+v", last)
				}
			}
			if diff := cmp.Diff(want, w.reasons()); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// Many pods that are held for one backend are one incident: told once, on the node, while each pod still tells why it stays.
func TestAnIncidentIsToldOnce(t *testing.T) {
	w := newWorld()
	r := w.reconciler(t)
	w.breaks("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{held(controllers.HeldBackendStorm)}
	for _, name := range []string{"one", "two", "three"} {
		pod := newPod(name, nil)
		w.put(pod)
		w.live(t, r, pod, 3)
	}
	if told := w.on("Node", controllers.ReasonBackendUnhealthy); len(told) != 1 || told[0].regarding.Name != apitest.Node || !strings.Contains(told[0].note, "fuse.csi.example") {
		t.Errorf("told on the node: %+v", told)
	}
	if n := len(w.on("Pod", controllers.ReasonRemediationHeld)); n != 3 {
		t.Errorf("%d pods tell that they are held, want 3", n)
	}
}

// A pod that went by itself while it was held is counted, and nobody is told.
func TestGoneWhileHeld(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	w.put(pod)
	w.breaks("/data", probes.CauseStale)
	w.answers = []controllers.Result{held(controllers.HeldDryRun), {Outcome: controllers.OutcomeGone, Message: "gone"}}
	w.live(t, w.reconciler(t), pod, 3)
	if diff := cmp.Diff([]controllers.Outcome{controllers.OutcomeHeld, controllers.OutcomeGone}, w.counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonRemediationHeld}, w.reasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// blocked is a refusal by a budget.
func blocked(retry time.Duration) controllers.Result {
	return controllers.Result{Outcome: controllers.OutcomeBlocked, Action: config.ActionEvict, Held: controllers.HeldBudget, Message: "blocked", RetryAfter: retry}
}

func TestBlockedSince(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	failed := controllers.Result{Outcome: controllers.OutcomeFailed, Action: config.ActionEvict, Held: controllers.HeldAPIError, Message: "failed"}
	w.answers = []controllers.Result{blocked(5 * time.Second), blocked(3 * time.Second), failed, held(controllers.HeldOptedOut), blocked(7 * time.Second), evicted}
	w.live(t, r, pod, 1)
	var waits, since []time.Duration
	first := w.clock()
	for range 6 {
		before := w.clock()
		w.live(t, r, pod, 1)
		waits = append(waits, w.clock().Sub(before))
		if s := w.asked()[len(w.asked())-1].BlockedSince; s.IsZero() {
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
func TestBlockedWhileItWaitsInTurn(t *testing.T) {
	for why, kept := range map[controllers.Held]bool{
		controllers.HeldOwnerBusy: true, controllers.HeldBackendStorm: true, controllers.HeldRateLimit: true, controllers.HeldNotConfirmed: true,
		controllers.HeldPaused: false, controllers.HeldBackoff: false, controllers.HeldNoFreshMount: false, controllers.HeldOptedOut: false,
	} {
		w, pod := newWorld(), newPod("app", nil)
		w.put(pod)
		w.breaks("/data", probes.CauseDisconnected)
		w.answers = []controllers.Result{blocked(time.Second), held(why), blocked(time.Second)}
		w.live(t, w.reconciler(t), pod, 4)
		if asked := w.asked(); len(asked) != 3 || asked[1].BlockedSince.IsZero() || asked[2].BlockedSince.IsZero() == kept {
			t.Errorf("%s: asked %d times, blocked since %v", why, len(asked), asked)
		}
	}
}

// What the last look found healthy begins anew: the refusals of before do not count.
func TestBlockedThenFoundHealthy(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	healthy := controllers.Result{Outcome: controllers.OutcomeHealthy, Action: config.ActionEvict, Message: "healthy"}
	w.answers = []controllers.Result{blocked(time.Second), healthy, blocked(time.Second)}
	w.live(t, w.reconciler(t), pod, 4)
	if asked := w.asked(); len(asked) != 3 || asked[1].BlockedSince.IsZero() || !asked[2].BlockedSince.IsZero() {
		t.Errorf("asked %d times, blocked since %v", len(asked), asked)
	}
}

func TestRecoveryCancels(t *testing.T) {
	w, pod := newWorld(), newPod("app", map[string]string{config.AnnotationSettleSeconds: "15"})
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.live(t, r, pod, 3)
	w.heals("/data")
	w.live(t, r, pod, 5)
	if n := len(w.asked()); n != 0 {
		t.Errorf("asked %d times for the removal of a pod that recovered", n)
	}
	if diff := cmp.Diff([]string{controllers.ReasonMountUnhealthy, controllers.ReasonMountRecovered}, w.reasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	note := w.on("Pod", controllers.ReasonMountRecovered)[0].note
	if want := "container app, /data (volume data, fuse.test from test): healthy again after 15s of Disconnected; the pod stays"; note != want {
		t.Errorf("note %q, want %q", note, want)
	}
}

// What recovered from a refused removal starts afresh: it is reported again, and the budget asked anew.
func TestRecoveryForgetsTheHold(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.answers = []controllers.Result{blocked(time.Second)}
	for range 2 {
		w.breaks("/data", probes.CauseDisconnected)
		w.live(t, r, pod, 2)
		if !w.asked()[len(w.asked())-1].BlockedSince.IsZero() {
			t.Error("blocked since a time before the recovery")
		}
		w.heals("/data")
		w.live(t, r, pod, 1)
		if held := r.Statuses()[0].Held; held != controllers.HeldNone {
			t.Errorf("a healthy pod is held for %s", held)
		}
	}
	if n := len(w.on("Pod", controllers.ReasonRemediationBlocked)); n != 2 {
		t.Errorf("%d events, want one for each time", n)
	}
}

func TestSuspicionIsNotReported(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	for range 5 {
		w.breaks("/data", probes.CauseIOError)
		w.live(t, r, pod, 2)
		w.heals("/data")
		w.live(t, r, pod, 1)
	}
	if len(w.events) != 0 || len(w.asked()) != 0 {
		t.Errorf("events %v, removals %v", w.events, w.asked())
	}
}

func TestLostSightIsReportedOnce(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.unknown["/data"] = "no process of the container"
	w.live(t, r, pod, 10)
	if diff := cmp.Diff([]string{controllers.ReasonMountUnknown}, w.reasons()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if note := w.events[0].note; note != "cannot be judged: no process of the container" {
		t.Errorf("note %q", note)
	}
	if len(w.asked()) != 0 {
		t.Error("a removal was asked for a mount that nobody saw")
	}
}

func TestInvalidAnnotationIsReportedOnceAndNeverActedOn(t *testing.T) {
	w, pod := newWorld(), newPod("app", map[string]string{config.AnnotationPeriodSeconds: "soon"})
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{held(controllers.HeldReportMode)}
	w.live(t, r, pod, 5)
	for _, req := range w.asked() {
		if req.Policy.Mode != config.ModeReport {
			t.Fatalf("asked in mode %s", req.Policy.Mode)
		}
	}
	invalid := w.on("Pod", controllers.ReasonInvalidMountPolicy)
	if len(invalid) != 1 || !strings.Contains(invalid[0].note, config.AnnotationPeriodSeconds) || !strings.Contains(invalid[0].note, "soon") {
		t.Errorf("events %+v, want one that names the annotation and its value", invalid)
	}
	for _, value := range []string{"later", "10", "soon"} { // another mistake, mended, the same again
		pod = pod.DeepCopy()
		pod.Annotations[config.AnnotationPeriodSeconds] = value
		w.put(pod)
		w.live(t, r, pod, 3)
	}
	if n := len(w.on("Pod", controllers.ReasonInvalidMountPolicy)); n != 3 {
		t.Errorf("%d events, want one for each new mistake, 3", n)
	}
}

// Each event goes to the pod and to its controller, since the pod's own vanish with it.
func TestEventsGoToPodAndOwner(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.live(t, r, pod, 2)
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
	w, pod := newWorld(), newPod("app", nil)
	pod.OwnerReferences = nil
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.live(t, r, pod, 2)
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
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	answer := held(controllers.HeldReportMode)
	answer.Message = "x" + strings.Repeat("é", 2000)
	w.answers = []controllers.Result{answer}
	w.live(t, r, pod, 2)
	note := w.on("Pod", controllers.ReasonRemediationHeld)[0].note
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
	w := newWorld()
	w.put(pod)
	for _, path := range []string{"/data", "/side", "/debug"} {
		w.breaks(path, probes.CauseDisconnected)
	}
	w.live(t, w.reconciler(t), pod, 2)
	got := map[string]bool{}
	for _, e := range w.on("Pod", controllers.ReasonMountUnhealthy) {
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
func TestUnhealthyTellsTheNextStep(t *testing.T) {
	for want, annotations := range map[string]map[string]string{
		"The pod is removed now, unless":                      nil,
		"The pod is removed in 30s unless the mount recovers": {config.AnnotationSettleSeconds: "30"},
		"The pod stays: its mode is Report":                   {config.AnnotationMode: "Report"},
	} {
		w, pod := newWorld(), newPod("app", annotations)
		w.put(pod)
		w.breaks("/data", probes.CauseDisconnected)
		w.live(t, w.reconciler(t), pod, 2)
		told := w.on("Pod", controllers.ReasonMountUnhealthy)
		if len(told) != 1 || !strings.Contains(told[0].note, want) {
			t.Errorf("told %+v, want %q", told, want)
		}
	}
}
