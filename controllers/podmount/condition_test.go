package podmount_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

// What a probe finds at a mount, besides a cause.
const (
	ok   = "ok"
	away = "?" // it cannot be probed
)

// setFindings sets what probes of /data and /more find: ok, away or a cause.
func (w *fakeNode) setFindings(data, more string) {
	for path, finds := range map[string]string{"/data": data, "/more": more} {
		w.healMount(path)
		w.mu.Lock()
		switch finds {
		case ok:
		case away:
			w.unknown[path] = "not seen"
		default:
			w.causes[path] = probes.Cause(finds)
		}
		w.mu.Unlock()
	}
}

// conditionStep is what some probes find at both mounts of a pod.
type conditionStep struct {
	looks      int
	data, more string
}

const (
	ioError = string(probes.CauseIOError)
	dead    = string(probes.CauseDisconnected)
	hung    = string(probes.CauseHung)
)

func TestConditionFollowsTheMounts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []conditionStep
		want  []string
	}{
		{"healthy", []conditionStep{{9, ok, ok}}, []string{"True MountsHealthy"}},
		{"never seen", []conditionStep{{9, away, away}}, nil},
		{"one never seen", []conditionStep{{9, ok, away}}, nil},
		{"suspect from the beginning", []conditionStep{{2, ioError, ok}}, nil},
		{"suspect, then out of sight", []conditionStep{{2, ioError, ok}, {5, away, ok}}, nil},
		{"suspect, then healthy", []conditionStep{{2, ioError, ok}, {2, ok, ok}}, []string{"True MountsHealthy"}},
		{"seen at last", []conditionStep{{4, ok, away}, {2, ok, ok}}, []string{"True MountsHealthy"}},
		{"suspicions come and go", []conditionStep{{1, ok, ok}, {2, ioError, ok}, {1, ok, ok}, {2, ok, hung}, {1, ok, ok}}, []string{"True MountsHealthy"}},
		{"out of sight for long", []conditionStep{{1, ok, ok}, {20, away, away}, {1, ok, ok}}, []string{"True MountsHealthy"}},
		{"fails", []conditionStep{{2, ok, ok}, {9, dead, ok}}, []string{"True MountsHealthy", "False Disconnected"}},
		{"fails from the beginning", []conditionStep{{9, dead, ok}}, []string{"False Disconnected"}},
		{"fails beside one that was never seen", []conditionStep{{9, dead, away}}, []string{"False Disconnected"}},
		{"fails beside a suspect", []conditionStep{{1, ok, ok}, {2, dead, ioError}}, []string{"True MountsHealthy", "False Disconnected"}},
		{"fails, then out of sight", []conditionStep{{4, dead, ok}, {20, away, ok}, {3, dead, ok}}, []string{"False Disconnected"}},
		{"fails and recovers", []conditionStep{{4, dead, ok}, {3, ok, ok}}, []string{"False Disconnected", "True MountsHealthy"}},
		{"fails and recovers while the other is suspect", []conditionStep{{4, dead, ok}, {2, ok, ioError}}, []string{"False Disconnected"}},
		{"fails and recovers beside one that was never seen", []conditionStep{{4, dead, away}, {5, ok, away}}, []string{"False Disconnected"}},
		{"fails and recovers while the other is out of sight", []conditionStep{{1, ok, ok}, {4, dead, ok}, {5, ok, away}}, []string{"True MountsHealthy", "False Disconnected", "True MountsHealthy"}},
		{"fails for another cause", []conditionStep{{4, ioError, ok}, {3, dead, ok}}, []string{"False IOError", "False Disconnected"}},
		{"the other fails too, for less", []conditionStep{{4, dead, ok}, {9, dead, ioError}}, []string{"False Disconnected"}},
		{"the other fails too, for more", []conditionStep{{4, ioError, ok}, {4, ioError, dead}}, []string{"False IOError", "False Disconnected"}},
		{"the other goes on failing", []conditionStep{{4, dead, dead}, {4, ok, dead}}, []string{"False Disconnected", "False Disconnected"}},
		{"the second recovers", []conditionStep{{4, dead, dead}, {4, dead, ok}}, []string{"False Disconnected"}},
	} {
		for mode, change := range map[string]func(*config.Config){
			"acts":    func(*config.Config) {},
			"dry run": func(c *config.Config) { c.DryRun = true },
			"report":  func(c *config.Config) { c.Defaults.Mode = config.ModeReport },
		} {
			t.Run(tc.name+", "+mode, func(t *testing.T) {
				w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
				r := w.newReconciler(t, change)
				w.putObject(pod)
				w.answers[0] = newHeld(controllers.HeldDryRun)
				for _, s := range tc.steps {
					w.setFindings(s.data, s.more)
					w.reconcileTimes(t, r, pod, s.looks)
				}
				if diff := cmp.Diff(append([]string{}, tc.want...), w.listConditions()); diff != "" {
					t.Errorf("written (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestConditionOfAPodWithNothingToWatch(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationVolumes: "none"})
	w.putObject(pod)
	w.reconcileTimes(t, w.newReconciler(t), pod, 3)
	if got := w.listConditions(); len(got) > 0 {
		t.Errorf("written %q", got)
	}
}

func TestNoConditionWithoutAWriter(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r, err := podmount.New(podmount.Options{Client: w, Prober: w, Remediator: w, Meter: w, Recorder: w, Config: config.Default(), Now: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 3)
	if len(w.copyRequests()) != 1 || len(pod.Status.Conditions) > 0 {
		t.Errorf("asked %d times, conditions %v", len(w.copyRequests()), pod.Status.Conditions)
	}
}

// An agent that starts again finds its own condition and has nothing to add.
func TestRestartedAgentWritesNothing(t *testing.T) {
	for _, finds := range []string{ok, dead, away} {
		t.Run(finds, func(t *testing.T) {
			w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
			w.putObject(pod)
			w.answers[0] = newHeld(controllers.HeldDryRun)
			w.setFindings(ok, ok)
			w.reconcileTimes(t, w.newReconciler(t), pod, 1)
			w.setFindings(finds, ok)
			w.reconcileTimes(t, w.newReconciler(t), pod, 5)
			before := len(w.listConditions())
			for range 3 {
				w.advanceClock(time.Hour) // what is known of the failure is younger, and says so
				w.reconcileTimes(t, w.newReconciler(t), pod, 5)
			}
			if got := w.listConditions(); len(got) != before {
				t.Errorf("written %q, of which %d before", got, before)
			}
		})
	}
}

// A cache that is behind shows an old condition, or none, for as long as it likes.
func TestConditionWithAStaleCache(t *testing.T) {
	w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers[0] = newHeld(controllers.HeldDryRun)
	w.cacheBehind = true
	want := []string{}
	for _, s := range []struct {
		finds, condition string
	}{{ok, "True MountsHealthy"}, {dead, "False Disconnected"}, {ok, "True MountsHealthy"}, {dead, "False Disconnected"}} {
		w.setFindings(s.finds, ok)
		w.reconcileTimes(t, r, pod, 5)
		want = append(want, s.condition)
		if diff := cmp.Diff(want, w.listConditions()); diff != "" {
			t.Fatalf("written (-want +got):\n%s", diff)
		}
	}
	for _, c := range slices.Clone(w.conditions) { // it catches up
		setCondition(pod, c)
		w.reconcileTimes(t, r, pod, 2)
	}
	if diff := cmp.Diff(want[:4], w.listConditions()[:4]); diff != "" || len(w.listConditions()) > 5 {
		t.Errorf("written %q", w.listConditions())
	}
}

// A write that failed is tried again at the next probe, and at no other time.
func TestConditionThatCannotBeWritten(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.writeError = errors.New("the API server is away")
	w.reconcileTimes(t, r, pod, 3)
	reconcileOnce(t, r, pod)
	reconcileOnce(t, r, pod) // an update of the pod
	if n := len(w.listConditions()); n != 4 {
		t.Fatalf("tried %d times at 4 looks", n)
	}
	w.writeError = nil
	w.reconcileTimes(t, r, pod, 3)
	if n := len(w.listConditions()); n != 5 {
		t.Errorf("tried %d times, want once more", n)
	}
	w.writeError = errors.New("away again")
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 2)
	if len(w.copyRequests()) != 1 {
		t.Error("a condition that cannot be written kept the pod from being removed")
	}
}

// The pod is out of its Services before its removal is asked for, so that a gate can wait for that.
func TestConditionComesBeforeTheRemoval(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	r := w.newReconciler(t)
	w.reconcileTimes(t, r, pod, 1)
	if len(w.listConditions()) > 0 {
		t.Errorf("written %q for a suspicion", w.listConditions())
	}
	w.reconcileTimes(t, r, pod, 1)
	if got := w.copyRequests()[0].Pod; len(got.Status.Conditions) != 0 || len(w.listConditions()) != 1 {
		t.Errorf("written %q; the pod that was judged has %v", w.listConditions(), got.Status.Conditions)
	}
}

// Somebody else's hand is corrected once the cache has shown that there was something to correct.
func TestConditionThatIsChangedByOthers(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 2)
	for n := 2; n <= 4; n++ {
		setCondition(pod, corev1.PodCondition{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionFalse, Reason: "Because"})
		w.reconcileTimes(t, r, pod, 3)
		if got := w.listConditions(); len(got) != n || got[n-1] != "True MountsHealthy" {
			t.Fatalf("written %q, want it corrected %d times", got, n-1)
		}
	}
	setCondition(pod, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "Because"})
	w.reconcileTimes(t, r, pod, 3)
	if n := len(w.listConditions()); n != 4 {
		t.Errorf("written %d times: another's condition is no concern", n)
	}
}

func TestConditionOfASuccessor(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.cacheBehind = true
	w.reconcileTimes(t, r, pod, 2)
	successor := newPod("app", nil)
	successor.UID = "successor"
	w.putObject(successor)
	w.reconcileTimes(t, r, successor, 2)
	if diff := cmp.Diff([]string{"True MountsHealthy", "True MountsHealthy"}, w.listConditions()); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// The message says what the event says; the time is that of the last change of the status, as the
// API requires.
func TestWhatTheConditionSays(t *testing.T) {
	w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers[0] = newHeld(controllers.HeldDryRun)
	w.setFindings(ok, ok)
	w.reconcileTimes(t, r, pod, 2)
	w.setFindings(ioError, ok)
	w.reconcileTimes(t, r, pod, 4)
	w.setFindings(ioError, dead)
	w.reconcileTimes(t, r, pod, 4)
	type said struct {
		Type, Message string
		Changed       time.Time
	}
	var got []said
	for _, c := range w.conditions {
		got = append(got, said{string(c.Type), c.Message, c.LastTransitionTime.Time})
	}
	failed := epoch.Add(40 * second) // at the third probe after two healthy ones
	want := []said{
		{"mountwarden.io/MountsHealthy", "", epoch},
		{"mountwarden.io/MountsHealthy", "container app, /data (volume data, fuse.test from test): IOError, 3 looks since 2026-01-02T03:04:25Z", failed},
		{"mountwarden.io/MountsHealthy", "container app, /more (volume more, fuse.test from test): Disconnected, 2 looks since 2026-01-02T03:05:05Z", failed},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestMessageOfTheConditionIsBounded(t *testing.T) {
	long := strings.Repeat("é", 2000)
	pod := newPod("app", nil)
	pod.Spec.Containers[0].Name = strings.Repeat("c", 4000) // no API server lets it pass
	w := newFakeNode()
	w.mounted = func(o *probes.Observation) { o.FSType, o.Source = long, "\x1b[2J"+long }
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, w.newReconciler(t), pod, 3)
	if n := len(w.conditions); n != 1 {
		t.Fatalf("written %d times", n)
	}
	if m := w.conditions[0].Message; len(m) > 1024 || !utf8.ValidString(m) || strings.Contains(m, "\x1b") {
		t.Errorf("a message of %d bytes: %q", len(m), m)
	}
}

// The same failure is written once, even though the number of probes in its text grows.
func TestConditionOfALongFailure(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers[0] = newHeld(controllers.HeldDryRun)
	for i := range 200 {
		w.mounted = func(o *probes.Observation) { o.Detail = fmt.Sprint("for the ", i, "th time") }
		w.breakMount("/data", probes.CauseIOError)
		w.reconcileTimes(t, r, pod, 1)
	}
	if got := w.listConditions(); len(got) != 1 {
		t.Errorf("written %d times", len(got))
	}
}

// The condition says for how long a pod's mounts were healthy before one failed, because it
// outlives the agent. The age of the pod says nothing.
func TestHealthyBefore(t *testing.T) {
	const minute = time.Minute
	for name, tc := range map[string]struct {
		condition corev1.ConditionStatus // of an agent before, an hour ago; "" is none
		healthy   time.Duration          // seen by this agent
		flap      bool                   // fails and recovers in between
		min, max  time.Duration
	}{
		"seen from its start":                        {"", 20 * minute, false, 19 * minute, 21 * minute},
		"broken at the first look":                   {"", 0, false, 0, 0},
		"healthy for an hour, then a new agent":      {corev1.ConditionTrue, 2 * minute, false, 61 * minute, 63 * minute},
		"healthy for an hour, broken at a new one's": {corev1.ConditionTrue, 0, false, 59 * minute, 61 * minute},
		"broken for an hour, then a new agent":       {corev1.ConditionFalse, 0, false, 0, 0},
		"failed and recovered":                       {"", 20 * minute, true, 9 * minute, 11 * minute},
	} {
		for _, writes := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", written ", writes), func(t *testing.T) {
				w, pod := newFakeNode(), newPod("app", nil)
				if tc.condition != "" {
					setCondition(pod, corev1.PodCondition{
						Type: controllers.ConditionMountsHealthy, Status: tc.condition, Reason: reasonOf(tc.condition), LastTransitionTime: metav1.NewTime(w.now.Add(-time.Hour)),
					})
				}
				w.putObject(pod)
				w.answers = []controllers.Result{newHeld(controllers.HeldPaused)}
				r := w.newReconciler(t)
				if !writes {
					r.Conditions = nil
				}
				if tc.flap {
					w.reconcileFor(t, r, pod, tc.healthy/2)
					w.breakMount("/data", probes.CauseIOError)
					w.reconcileTimes(t, r, pod, 3)
					w.healMount("/data")
					w.reconcileFor(t, r, pod, tc.healthy/2)
				} else if tc.healthy > 0 {
					w.reconcileFor(t, r, pod, tc.healthy)
				}
				w.mu.Lock()
				w.requests = nil
				w.mu.Unlock()
				w.breakMount("/data", probes.CauseDisconnected)
				w.reconcileFor(t, r, pod, minute)
				asked := w.copyRequests()
				if len(asked) == 0 {
					t.Fatal("no removal was asked for")
				}
				for _, req := range asked {
					if req.Healthy < tc.min || req.Healthy > tc.max {
						t.Errorf("healthy for %s before, want %s to %s", req.Healthy, tc.min, tc.max)
					}
				}
			})
		}
	}
}

func reasonOf(status corev1.ConditionStatus) string {
	if status == corev1.ConditionTrue {
		return "MountsHealthy"
	}
	return dead
}
