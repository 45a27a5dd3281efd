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

// later is an answer after which nothing is to be asked for a while.
func later(wait time.Duration) controllers.Result {
	r := held(controllers.HeldRateLimit)
	r.RetryAfter = wait
	return r
}

// liveFor reconciles a pod for as long as d, to the very end.
func (w *world) liveFor(t *testing.T, r *podmount.Reconciler, pod *corev1.Pod, d time.Duration) {
	t.Helper()
	for end := w.clock().Add(d); !w.clock().After(end); {
		w.live(t, r, pod, 1)
	}
}

// askedSince returns when removals were asked for, since a time.
func (w *world) askedSince(from time.Time) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for _, at := range w.askedAt {
		all = append(all, at.Sub(from))
	}
	return all
}

// Looks go on while the Remediator is not to be asked; one more is made at the time when it may be.
func TestRetryAfter(t *testing.T) {
	recovered := controllers.Result{Outcome: controllers.OutcomeHealthy, Held: controllers.HeldNotConfirmed}
	recoveredFor := recovered
	recoveredFor.RetryAfter = 5 * second
	never := later(time.Hour)
	for _, tc := range []struct {
		name    string
		answers []controllers.Result
		asked   []time.Duration // within half a minute
		looks   int
	}{
		{"left to the caller", []controllers.Result{later(0)}, []time.Duration{0, 10 * second, 20 * second, 30 * second}, 4},
		{"in the past", []controllers.Result{later(-second), never}, []time.Duration{0, 10 * second}, 4},
		{"before the next look", []controllers.Result{later(3 * second), never}, []time.Duration{0, 3 * second}, 4},
		{"with a look", []controllers.Result{later(20 * second), never}, []time.Duration{0, 20 * second}, 4},
		{"between two looks", []controllers.Result{later(25 * second), never}, []time.Duration{0, 25 * second}, 4},
		{"as soon as may be", []controllers.Result{later(1), never}, []time.Duration{0, 1}, 4},
		{"and again", []controllers.Result{later(15 * second), later(15 * second), never}, []time.Duration{0, 15 * second, 30 * second}, 5},
		{"not within this time", []controllers.Result{later(31 * second)}, []time.Duration{0}, 4},
		{"blocked by a budget", []controllers.Result{blocked(12 * second), evicted}, []time.Duration{0, 12 * second}, 4},
		{"found healthy", []controllers.Result{recovered, evicted}, []time.Duration{0, 10 * second}, 4},
		{"found healthy, for a while", []controllers.Result{recoveredFor, evicted}, []time.Duration{0, 5 * second}, 4},
		{"done is done", []controllers.Result{{Outcome: controllers.OutcomeEvicted, RetryAfter: 5 * second}}, []time.Duration{0}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, pod := newWorld(), newPod("app", nil)
			r := w.reconciler(t)
			w.put(pod)
			w.breaks("/data", probes.CauseDisconnected)
			w.answers = tc.answers
			w.live(t, r, pod, 1) // the next look confirms
			before, from := w.looked(), w.clock()
			w.liveFor(t, r, pod, 30*second)
			if diff := cmp.Diff(tc.asked, w.askedSince(from)); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if n := w.looked() - before; n != tc.looks {
				t.Errorf("%d looks, want %d", n, tc.looks)
			}
		})
	}
}

// Neither an update of the pod nor an event of the kernel has the Remediator asked any sooner.
func TestRetryAfterIsNotCutShort(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{later(15 * second), evicted}
	w.live(t, r, pod, 1)
	from := w.clock()
	for range 29 {
		announce(r, "app-uid", probes.TriggerMountTable)
		reconcile(t, r, pod)
		w.pass(second / 2)
	}
	if n := len(w.asked()); n != 1 {
		t.Fatalf("asked %d times within 14.5 s", n)
	}
	w.liveFor(t, r, pod, 10*second)
	if diff := cmp.Diff([]time.Duration{0, 15 * second}, w.askedSince(from)); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// The row of refusals ends with a recovery.
func TestRecoveryForgetsRetryAfter(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.answers = []controllers.Result{later(time.Hour)}
	for n := 1; n <= 3; n++ {
		w.breaks("/data", probes.CauseDisconnected)
		w.live(t, r, pod, 4)
		if len(w.asked()) != n {
			t.Fatalf("asked %d times in %d failures", len(w.asked()), n)
		}
		w.heals("/data")
		w.live(t, r, pod, 1)
	}
}

// What was answered for one mount says nothing about another, nor about a pod of the same name.
func TestAnotherReasonIsAskedAtOnce(t *testing.T) {
	w, pod := newWorld(), withMount(newPod("app", nil), "more", "/more")
	r := w.reconciler(t)
	w.put(pod)
	w.answers = []controllers.Result{later(time.Hour)}
	w.breaks("/data", probes.CauseIOError)
	w.live(t, r, pod, 6)
	if n := len(w.asked()); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	w.breaks("/more", probes.CauseDisconnected) // outweighs the other
	w.live(t, r, pod, 6)
	asked := w.asked()
	if len(asked) != 2 || asked[1].Decision.Failures[0].Observation.Target.Path != "/more" {
		t.Fatalf("asked %+v", asked)
	}
	if len(asked[0].Others) != 0 || len(asked[1].Others) != 1 || asked[1].Others[0].Cause != probes.CauseIOError {
		t.Errorf("beside the reason broken are %+v, and then %+v", asked[0].Others, asked[1].Others)
	}
	successor := pod.DeepCopy()
	successor.UID = "successor"
	w.put(successor)
	w.live(t, r, successor, 4)
	if asked = w.asked(); len(asked) != 3 || asked[2].Pod.UID != "successor" {
		t.Errorf("asked %d times, want at once for the successor", len(asked))
	}
}

// While a mount is out of sight nothing is asked, whenever it may be.
func TestRetryWaitsForSight(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.breaks("/data", probes.CauseDisconnected)
	w.answers = []controllers.Result{later(5 * second), evicted}
	w.live(t, r, pod, 2)
	w.unknown["/data"] = "not seen"
	w.live(t, r, pod, 5)
	if n := len(w.asked()); n != 1 {
		t.Errorf("asked %d times for a mount that nobody saw", n)
	}
	delete(w.unknown, "/data")
	w.live(t, r, pod, 1)
	if n := len(w.asked()); n != 2 {
		t.Errorf("asked %d times, want again when it is seen", n)
	}
}

// A Request carries what the last look and the guards need.
func TestRequest(t *testing.T) {
	w, other := newWorld(), newPod("other", nil)
	pod := withMount(newPod("app", map[string]string{config.AnnotationExpectMounts: "data/below/deep=nfs4"}), "more", "/data/more")
	w.mounted = func(o *probes.Observation) { o.FSType, o.Source, o.Device = "fuse.x", "x\n", "0:42" }
	r := w.reconciler(t)
	w.put(pod)
	w.put(other)
	w.live(t, r, other, 1)
	w.breaks("/data/more", probes.CauseDisconnected)
	w.live(t, r, pod, 2)
	got := w.asked()[0]
	if diff := cmp.Diff(w.looks[len(w.looks)-1], got.Look); diff != "" || got.Look.Name != "app" {
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

// The host has what is mounted below a volume where it has the volume, and not where it has another that lies closer in the text.
func TestHostOfWhatLiesBelow(t *testing.T) {
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
		if got := podmount.HostOf(look, probes.Target{Container: "app", Volume: "data", Path: path}); got.Folder != want {
			t.Errorf("%s: %q, want %q", path, got.Folder, want)
		}
	}
	for _, none := range []probes.Target{{Container: "app", Volume: "none", Path: "/data"}, {Container: "none", Volume: "data", Path: "/data"}, {}} {
		if got := podmount.HostOf(look, none); got != (probes.HostVolume{}) {
			t.Errorf("%+v: %+v", none, got)
		}
	}
}
