package podmount_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

const second = time.Second

// newRetryLater is a hold with a RetryAfter.
func newRetryLater(wait time.Duration) controllers.Result {
	r := newHeld(controllers.HeldRateLimit)
	r.RetryAfter = wait
	return r
}

// reconcileFor reconciles a pod for as long as d, including the end.
func (w *fakeNode) reconcileFor(t *testing.T, r *podmount.Reconciler, pod *corev1.Pod, d time.Duration) {
	t.Helper()
	for end := w.clock().Add(d); !w.clock().After(end); {
		w.reconcileTimes(t, r, pod, 1)
	}
}

// requestsSince returns when remediations were requested, since a time.
func (w *fakeNode) requestsSince(from time.Time) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for _, at := range w.requestedAt {
		all = append(all, at.Sub(from))
	}
	return all
}

// Probes go on before RetryAfter has passed; one more is made when it has.
func TestRetryAfter(t *testing.T) {
	recovered := controllers.Result{Outcome: controllers.OutcomeHealthy, Held: controllers.HeldNotConfirmed}
	recoveredFor := recovered
	recoveredFor.RetryAfter = 5 * second
	never := newRetryLater(time.Hour)
	for _, tc := range []struct {
		name    string
		answers []controllers.Result
		asked   []time.Duration // within half a minute
		looks   int
	}{
		{"left to the caller", []controllers.Result{newRetryLater(0)}, []time.Duration{0, 10 * second, 20 * second, 30 * second}, 4},
		{"in the past", []controllers.Result{newRetryLater(-second), never}, []time.Duration{0, 10 * second}, 4},
		{"before the next look", []controllers.Result{newRetryLater(3 * second), never}, []time.Duration{0, 3 * second}, 4},
		{"with a look", []controllers.Result{newRetryLater(20 * second), never}, []time.Duration{0, 20 * second}, 4},
		{"between two looks", []controllers.Result{newRetryLater(25 * second), never}, []time.Duration{0, 25 * second}, 4},
		{"as soon as may be", []controllers.Result{newRetryLater(1), never}, []time.Duration{0, 1}, 4},
		{"and again", []controllers.Result{newRetryLater(15 * second), newRetryLater(15 * second), never}, []time.Duration{0, 15 * second, 30 * second}, 5},
		{"not within this time", []controllers.Result{newRetryLater(31 * second)}, []time.Duration{0}, 4},
		{"blocked by a budget", []controllers.Result{newBlocked(12 * second), evicted}, []time.Duration{0, 12 * second}, 4},
		{"found healthy", []controllers.Result{recovered, evicted}, []time.Duration{0, 10 * second}, 4},
		{"found healthy, for a while", []controllers.Result{recoveredFor, evicted}, []time.Duration{0, 5 * second}, 4},
		{"done is done", []controllers.Result{{Outcome: controllers.OutcomeEvicted, RetryAfter: 5 * second}}, []time.Duration{0}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, pod := newFakeNode(), newPod("app", nil)
			r := w.newReconciler(t)
			w.putObject(pod)
			w.breakMount("/data", probes.CauseDisconnected)
			w.answers = tc.answers
			w.reconcileTimes(t, r, pod, 1) // the next probe confirms
			before, from := w.countProbes(), w.clock()
			w.reconcileFor(t, r, pod, 30*second)
			if diff := cmp.Diff(tc.asked, w.requestsSince(from)); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if n := w.countProbes() - before; n != tc.looks {
				t.Errorf("%d looks, want %d", n, tc.looks)
			}
		})
	}
}

// Neither an update of the pod nor an event of the kernel has the Remediator asked any sooner.
func TestRetryAfterIsNotCutShort(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{newRetryLater(15 * second), evicted}
	w.reconcileTimes(t, r, pod, 1)
	from := w.clock()
	for range 29 {
		announceProbe(r, "app-uid", probes.TriggerMountTable)
		reconcileOnce(t, r, pod)
		w.advanceClock(second / 2)
	}
	if n := len(w.copyRequests()); n != 1 {
		t.Fatalf("asked %d times within 14.5 s", n)
	}
	w.reconcileFor(t, r, pod, 10*second)
	if diff := cmp.Diff([]time.Duration{0, 15 * second}, w.requestsSince(from)); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// The row of refusals ends with a recovery.
func TestRecoveryForgetsRetryAfter(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers = []controllers.Result{newRetryLater(time.Hour)}
	for n := 1; n <= 3; n++ {
		w.breakMount("/data", probes.CauseDisconnected)
		w.reconcileTimes(t, r, pod, 4)
		if len(w.copyRequests()) != n {
			t.Fatalf("asked %d times in %d failures", len(w.copyRequests()), n)
		}
		w.healMount("/data")
		w.reconcileTimes(t, r, pod, 1)
	}
}

// What was answered for one mount says nothing about another, nor about a pod of the same name.
func TestAnotherReasonIsAskedAtOnce(t *testing.T) {
	w, pod := newFakeNode(), withMount(newPod("app", nil), "more", "/more")
	r := w.newReconciler(t)
	w.putObject(pod)
	w.answers = []controllers.Result{newRetryLater(time.Hour)}
	w.breakMount("/data", probes.CauseIOError)
	w.reconcileTimes(t, r, pod, 6)
	if n := len(w.copyRequests()); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	w.breakMount("/more", probes.CauseDisconnected) // outweighs the other
	w.reconcileTimes(t, r, pod, 6)
	asked := w.copyRequests()
	if len(asked) != 2 || asked[1].Decision.Failures[0].Observation.Target.Path != "/more" {
		t.Fatalf("asked %+v", asked)
	}
	if len(asked[0].Others) != 0 || len(asked[1].Others) != 1 || asked[1].Others[0].Cause != probes.CauseIOError {
		t.Errorf("beside the reason broken are %+v, and then %+v", asked[0].Others, asked[1].Others)
	}
	successor := pod.DeepCopy()
	successor.UID = "successor"
	w.putObject(successor)
	w.reconcileTimes(t, r, successor, 4)
	if asked = w.copyRequests(); len(asked) != 3 || asked[2].Pod.UID != "successor" {
		t.Errorf("asked %d times, want at once for the successor", len(asked))
	}
}

// While a mount is out of sight nothing is asked, whenever it may be.
func TestRetryWaitsForAJudgement(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{newRetryLater(5 * second), evicted}
	w.reconcileTimes(t, r, pod, 2)
	w.unknown["/data"] = "not seen"
	w.reconcileTimes(t, r, pod, 5)
	if n := len(w.copyRequests()); n != 1 {
		t.Errorf("asked %d times for a mount that nobody saw", n)
	}
	delete(w.unknown, "/data")
	w.reconcileTimes(t, r, pod, 1)
	if n := len(w.copyRequests()); n != 2 {
		t.Errorf("asked %d times, want again when it is seen", n)
	}
}

// A Request carries what the last probe and the gates need.
func TestRequest(t *testing.T) {
	w, other := newFakeNode(), newPod("other", nil)
	pod := withMount(newPod("app", map[string]string{config.AnnotationExpectMounts: "data/below/deep=nfs4"}), "more", "/data/more")
	w.mounted = func(o *probes.Observation) { o.FSType, o.Source, o.Device = "fuse.x", "x\n", "0:42" }
	r := w.newReconciler(t)
	w.putObject(pod)
	w.putObject(other)
	w.reconcileTimes(t, r, other, 1)
	w.breakMount("/data/more", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 2)
	got := w.copyRequests()[0]
	if diff := cmp.Diff(w.probed[len(w.probed)-1], got.Look); diff != "" || got.Look.Name != "app" {
		t.Errorf("the look (-made +request):\n%s", diff)
	}
	want := probes.Volume{
		Backend: probes.Backend{Kind: probes.BackendCSI, Name: "fuse.csi.example"}, PodUID: "app-uid", Cause: probes.CauseDisconnected,
		Host: probes.HostVolume{Folder: "kubernetes.io~csi/more/mount"}, FSType: "fuse.x", Source: "x\n", Device: "0:42",
	}
	if diff := cmp.Diff(want, got.Volume); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
	byName := cmpopts.SortSlices(func(a, b controllers.Status) bool { return a.Pod+a.Target.Path < b.Pod+b.Target.Path })
	ignore := cmpopts.IgnoreFields(controllers.Status{}, "Mount", "Held", "Backend", "Mode", "FolderUID")
	if diff := cmp.Diff([]controllers.Status{
		{Namespace: "default", Pod: "app", PodUID: "app-uid", Target: probes.Target{Container: "app", Volume: "data", Path: "/data"}},
		{Namespace: "default", Pod: "app", PodUID: "app-uid", Target: probes.Target{Container: "app", Volume: "more", Path: "/data/more"}},
		{Namespace: "default", Pod: "other", PodUID: "other-uid", Target: probes.Target{Container: "app", Volume: "data", Path: "/data"}},
	}, got.Mounts, byName, ignore); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
}

// The host has a mount below a volume where it has that volume, and not where it has another whose
// path only starts with the same text.
func TestFindHostVolumeOfAMountBelow(t *testing.T) {
	mount := func(volume, path, folder string) probes.Mount {
		return probes.Mount{Volume: volume, Path: path, Host: probes.HostVolume{Folder: folder}}
	}
	look := probes.Pod{Containers: []probes.Container{
		{Name: "side", Mounts: []probes.Mount{mount("data", "/data/a/b", "of another container")}},
		{Name: "app", Mounts: []probes.Mount{
			mount("data", "/data", "far"), mount("data", "/data/a", "near"), mount("data", "/", "root"),
			mount("more", "/data/a/b", "of another volume"), mount("data", "/data/a/bc", "beside"),
		}},
	}}
	for path, want := range map[string]string{"/data/a/b": "near", "/data/a": "near", "/data/ab": "far", "/data/a/bc/d": "beside", "/other": "root"} {
		if got := podmount.FindHostVolume(look, probes.Target{Container: "app", Volume: "data", Path: path}); got.Folder != want {
			t.Errorf("%s: %q, want %q", path, got.Folder, want)
		}
	}
	for _, none := range []probes.Target{{Container: "app", Volume: "none", Path: "/data"}, {Container: "none", Volume: "data", Path: "/data"}, {}} {
		if got := podmount.FindHostVolume(look, none); got != (probes.HostVolume{}) {
			t.Errorf("%+v: %+v", none, got)
		}
	}
}
