package podmount_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

// announce calls for a look as the prober would, without a controller that takes note.
func announce(r *podmount.Reconciler, uid string, trigger probes.Trigger) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.Announce(ended, uid, trigger)
}

func TestAnnouncedLookIsOutOfTurn(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	reconcile(t, r, pod)
	w.pass(time.Second)
	announce(r, "app-uid", probes.TriggerFUSEDaemon)
	announce(r, "app-uid", probes.TriggerMountTable)
	announce(r, "unknown", probes.TriggerMountTable)
	if got := reconcile(t, r, pod).RequeueAfter; got != 10*time.Second || w.looked() != 2 {
		t.Fatalf("%d looks, the next in %s, want one more and then the period", w.looked(), got)
	}
	if got := reconcile(t, r, pod).RequeueAfter; got != 10*time.Second || w.looked() != 2 {
		t.Errorf("%d looks, the next in %s: announced once, looked at twice", w.looked(), got)
	}
}

// The event came too late for the look that was under way.
func TestAnnouncedDuringALook(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	w.duringUse = func() { announce(r, "app-uid", probes.TriggerMountTable) }
	reconcile(t, r, pod)
	w.duringUse = nil
	reconcile(t, r, pod) // the controller has been told
	reconcile(t, r, pod)
	if w.looked() != 2 {
		t.Errorf("%d looks, want 2", w.looked())
	}
}

func TestAnnouncementDoesNotPassTheInitialDelay(t *testing.T) {
	w, pod := newWorld(), newPod("app", map[string]string{config.AnnotationInitialDelaySeconds: "30"})
	r := w.reconciler(t)
	w.put(pod)
	reconcile(t, r, pod)
	pod.Status.ContainerStatuses[0].State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch)}
	announce(r, "app-uid", probes.TriggerMountTable)
	if got := reconcile(t, r, pod).RequeueAfter; got != 30*time.Second || w.looked() != 1 {
		t.Errorf("%d looks, the next in %s, want it after the delay", w.looked(), got)
	}
}

// However many looks an event calls for, a failure that is not definitive takes its periods.
func TestAnnouncementsProveNothing(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r := w.reconciler(t)
	w.put(pod)
	reconcile(t, r, pod)
	w.breaks("/data", probes.CauseIOError)
	for range 100 {
		w.pass(90 * time.Millisecond)
		announce(r, "app-uid", probes.TriggerFileSystemError)
		reconcile(t, r, pod)
	}
	if len(w.asked()) != 0 {
		t.Errorf("a removal was asked for after 100 looks within 9 s")
	}
	w.live(t, r, pod, 3)
	if len(w.asked()) != 1 {
		t.Errorf("%d removals after as many looks as it takes", len(w.asked()))
	}
}

func TestTriggerOfADetection(t *testing.T) {
	w, one, two := newWorld(), newPod("one", nil), newPod("two", nil)
	r := w.reconciler(t)
	w.put(one)
	w.put(two)
	w.live(t, r, one, 1)
	w.breaks("/data", probes.CauseDisconnected)
	announce(r, "one-uid", probes.TriggerFUSEDaemon)
	w.live(t, r, one, 2) // found and confirmed
	w.live(t, r, two, 2)
	if diff := cmp.Diff([]probes.Trigger{probes.TriggerFUSEDaemon, probes.TriggerPeriod}, w.triggers); diff != "" {
		t.Errorf("triggers (-want +got):\n%s", diff)
	}
}

// The kubelet names a static pod's folder by the hash of its manifest.
func TestStaticPodIsKnownByItsFolder(t *testing.T) {
	w, pod := newWorld(), newPod("app", map[string]string{corev1.MirrorPodAnnotationKey: "hash"})
	r := w.reconciler(t)
	w.put(pod)
	reconcile(t, r, pod)
	if got := w.looks[0].UID; got != "hash" {
		t.Errorf("asked for the pod %q", got)
	}
	announce(r, "app-uid", probes.TriggerMountTable)
	reconcile(t, r, pod)
	announce(r, "hash", probes.TriggerMountTable)
	reconcile(t, r, pod)
	if w.looked() != 2 {
		t.Errorf("%d looks, want 2", w.looked())
	}
}

// What an agent finds when it starts is not looked at all at once for ever.
func TestPodsAreSpread(t *testing.T) {
	w, pod := newWorld(), newPod("app", nil)
	r, err := podmount.New(podmount.Options{
		Client: w, Prober: w, Remediator: w, Meter: w, Recorder: w, Config: config.Default(), Now: w.clock,
		Spread: func(uid types.UID) float64 { return map[types.UID]float64{"app-uid": 0.25}[uid] },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.put(pod)
	w.pass(300 * time.Millisecond) // past a whole second, at which groups have their turn
	for look, step := range []struct{ want, late time.Duration }{
		{want: 1700 * time.Millisecond, late: 5 * time.Millisecond}, {want: 9995 * time.Millisecond}, {want: 10 * time.Second}, {want: 10 * time.Second},
	} {
		if got := reconcile(t, r, pod).RequeueAfter; got != step.want {
			t.Errorf("after look %d the next comes in %s, want %s", look, got, step.want)
		}
		w.pass(step.want + step.late)
	}
	if w.looked() != 4 {
		t.Errorf("%d looks, want 4", w.looked())
	}
}

func TestSpreadEvenly(t *testing.T) {
	const pods, parts = 1000, 10
	var in [parts]int
	for i := range pods {
		share := podmount.SpreadEvenly(types.UID(fmt.Sprintf("3f1c-%d", i)))
		if share <= 0 || share > 1 {
			t.Fatalf("share %v", share)
		}
		in[min(parts-1, int(share*parts))]++
	}
	for i, n := range in {
		if n < pods/parts/2 || n > pods/parts*2 {
			t.Errorf("%d of %d pods are in part %d of %d", n, pods, i, parts)
		}
	}
}

func TestManagedAnnouncement(t *testing.T) {
	a := start(t, "announced")
	pod := a.pod(server.Namespace(t, nil))
	pod.Annotations[config.AnnotationPeriodSeconds] = "86400"
	uid := string(server.Run(t, pod).UID) // may have been looked at by now: there is no second look to wait for
	apitest.Eventually(t, "the first look", func() bool { return a.looked() > 0 })
	for range 3 {
		before := a.looked()
		go a.Announce(t.Context(), uid, probes.TriggerMountTable)
		apitest.Eventually(t, "one more look", func() bool { return a.looked() > before })
	}
}
