package podmount_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/verdict"
	"github.com/mountwarden/mountwarden/probes"
)

// onlyWatched returns what is known of the one watched pod.
func onlyWatched(t *testing.T, r *podmount.Reconciler) controllers.Watched {
	t.Helper()
	all := r.Watched()
	if len(all) != 1 {
		t.Fatalf("%d pods are watched, want 1", len(all))
	}
	return all[0]
}

// listTransitions lists the transitions of a pod's first mount, such as "Failed Stale".
func listTransitions(w controllers.Watched) []string {
	var all []string
	for _, t := range w.Mounts[0].History {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s%s", t.State, t.Cause, t.Warning)))
	}
	return all
}

func TestWatchedBeforeTheFirstProbe(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationInitialDelaySeconds: "30", config.AnnotationAction: "Delete", config.AnnotationSettleSeconds: "7"})
	pod.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(epoch)
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	got := onlyWatched(t, r)
	if got.Namespace != pod.Namespace || got.Pod != "app" || got.PodUID != pod.UID || got.Owner != "ReplicaSet/"+pod.OwnerReferences[0].Name {
		t.Errorf("watches %+v", got)
	}
	if got.Mode != config.ModeRemediate || got.Action != config.ActionDelete || got.Rules.Settle != 7*time.Second || got.Problem != "" {
		t.Errorf("policy of %+v", got)
	}
	if !got.Looked.IsZero() || !got.NextLook.Equal(epoch.Add(30*time.Second)) || len(got.Mounts) != 0 {
		t.Errorf("looked at %s, next at %s, %d mounts", got.Looked, got.NextLook, len(got.Mounts))
	}
}

func TestWatchedShowsTransitions(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers = []controllers.Result{newHeld(controllers.HeldBackoff), {Outcome: controllers.OutcomeHeld, Held: controllers.HeldBackoff, Message: "again", RetryAfter: time.Minute}, evicted}
	w.reconcileTimes(t, r, pod, 2)
	broken := w.clock()
	w.breakMount("/data", probes.CauseStale)
	w.reconcileTimes(t, r, pod, 2)
	first := onlyWatched(t, r)
	if first.Held != controllers.HeldBackoff || first.Message != "held for Backoff" || !first.AskAgain.IsZero() || first.Removed {
		t.Errorf("held: %+v", first)
	}
	if first.HeldSince.Sub(broken) != 10*time.Millisecond || first.Mounts[0].Backend.Kind == "" {
		t.Errorf("held since %s, broken at %s, served by %+v", first.HeldSince, broken, first.Mounts[0].Backend)
	}
	w.reconcileTimes(t, r, pod, 1)
	if second := onlyWatched(t, r); !second.HeldSince.Equal(first.HeldSince) || second.Message != "again" || second.AskAgain.Sub(second.Looked) != time.Minute {
		t.Errorf("held for the same reason again: %+v", second)
	}
	w.reconcileTimes(t, r, pod, 10)
	last := onlyWatched(t, r)
	if !last.Removed || last.Held != controllers.HeldNone {
		t.Errorf("after the removal: %+v", last)
	}
	if diff := cmp.Diff([]string{"Healthy", "Suspect Stale", "Failed Stale"}, listTransitions(last)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	w.healMount("/data")
	w.reconcileTimes(t, r, pod, 1)
	if !onlyWatched(t, r).Removed {
		t.Error("a removal was taken back")
	}
}

func TestAHoldIsOverWhenTheMountRecovers(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers = []controllers.Result{newHeld(controllers.HeldPaused)}
	w.breakMount("/data", probes.CauseStale)
	w.reconcileTimes(t, r, pod, 2)
	w.healMount("/data")
	w.reconcileTimes(t, r, pod, 1)
	if got := onlyWatched(t, r); got.Held != controllers.HeldNone || got.Message != "" || got.Removed {
		t.Errorf("still told as held: %+v", got)
	}
}

func TestAProblemOfThePolicyIsShown(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationMode: "Sometimes"})
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 1)
	if got := onlyWatched(t, r); got.Mode != config.ModeReport || !strings.Contains(got.Problem, "Sometimes") {
		t.Errorf("told %+v", got)
	}
	if got := r.PodsInvalid(); got != 1 {
		t.Errorf("%d pods are not understood, want 1", got)
	}
	pod.Annotations[config.AnnotationMode] = string(config.ModeReport)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 1)
	if got := r.PodsInvalid(); got != 0 {
		t.Errorf("%d pods are not understood after the annotation was mended", got)
	}
}

// The history of a mount is bounded, however often it changes, and what was handed out does not
// change.
func TestHistoriesAreBounded(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 1)
	early := onlyWatched(t, r)
	before := listTransitions(early)
	for range 50 {
		w.breakMount("/data", probes.CauseIOError)
		w.reconcileTimes(t, r, pod, 1)
		w.healMount("/data")
		w.reconcileTimes(t, r, pod, 1)
	}
	if diff := cmp.Diff(before, listTransitions(early)); diff != "" {
		t.Errorf("what was handed out has changed:\n%s", diff)
	}
	got := onlyWatched(t, r)
	if n := len(listTransitions(got)); n != 8 {
		t.Errorf("%d transitions are remembered", n)
	}
	if last := got.Mounts[0].History[7]; last.State != "Healthy" || !got.Mounts[0].Since.Equal(last.At) {
		t.Errorf("healthy since %s, by %+v", got.Mounts[0].Since, last)
	}
	w.unknown["/data"] = strings.Repeat("long ", 100)
	w.reconcileTimes(t, r, pod, 1)
	if detail := onlyWatched(t, r).Mounts[0].History[7].Detail; len(detail) > 160 || !strings.HasPrefix(detail, "long") {
		t.Errorf("%d bytes of detail", len(detail))
	}
}

// The state began when it was entered, whatever else has changed since.
func TestSinceIsOfTheState(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 2)
	for i := range 20 {
		w.warning = []probes.Warning{probes.WarningNoSpace, probes.WarningHostBroken}[i%2]
		w.reconcileTimes(t, r, pod, 1)
	}
	if got := onlyWatched(t, r).Mounts[0]; !got.Since.Equal(epoch) || got.Mount.Shown() != verdict.Healthy.String() {
		t.Errorf("%s since %s, want since the first look at %s", got.Mount.Shown(), got.Since, epoch)
	}
}

func TestHistoriesOfVanishedMountsAreForgotten(t *testing.T) {
	w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 2)
	if n := len(onlyWatched(t, r).Mounts); n != 2 {
		t.Fatalf("%d mounts", n)
	}
	pod = pod.DeepCopy()
	pod.Annotations[config.AnnotationVolumes] = "more"
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 1)
	got := onlyWatched(t, r)
	if len(got.Mounts) != 1 || got.Mounts[0].Target.Volume != "more" || len(got.Mounts[0].History) != 1 {
		t.Errorf("left: %+v", got.Mounts)
	}
	w.dropObject(pod)
	reconcileOnce(t, r, pod)
	if len(r.Watched()) != 0 {
		t.Error("a pod that is gone is told of")
	}
}

// A snapshot is made and written while pods are probed: for the race detector.
func TestSnapshotsBesideReconciles(t *testing.T) {
	w := newFakeNode()
	r := w.newReconciler(t)
	w.answers[0] = newHeld(controllers.HeldDryRun)
	live := status.Live{
		Now: w.clock, Watched: r.Watched, LastLook: r.LastScan, Overdue: r.Overdue, Removals: func() []controllers.Removal { return nil },
		EventSources: func() []status.EventSource { return nil }, Workers: func() status.Workers { return status.Workers{} },
	}
	var lookers, reader sync.WaitGroup
	stop, shown := make(chan struct{}), 0
	reader.Go(func() {
		for {
			var text bytes.Buffer
			s := live.Snapshot()
			if err := status.WriteJSON(&text, s, ""); err != nil {
				t.Error(err)
			}
			shown += len(s.Rows())
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range 10 {
		pod := newPod(fmt.Sprint("app-", i), nil)
		w.putObject(pod)
		lookers.Go(func() { flapMount(t, w, r, pod) })
	}
	lookers.Wait()
	close(stop)
	reader.Wait()
	if shown == 0 {
		t.Error("no snapshot has shown a mount")
	}
}

// flapMount probes a pod whose mount fails and recovers.
func flapMount(t *testing.T, w *fakeNode, r *podmount.Reconciler, pod *corev1.Pod) {
	for i := range 40 {
		switch i % 4 {
		case 0:
			w.breakMount("/data", probes.CauseDisconnected)
		case 3:
			w.healMount("/data")
		}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)}); err != nil {
			t.Error(err)
		}
		w.advanceClock(10 * time.Second)
	}
}
