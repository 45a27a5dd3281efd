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

// announceProbe requests a probe as the events package would, without a controller that receives
// it.
func announceProbe(r *podmount.Reconciler, uid string, trigger probes.Trigger) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	r.Announce(ended, uid, trigger)
}

func TestAnnouncedProbeComesAtOnce(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	w.advanceClock(time.Second)
	announceProbe(r, "app-uid", probes.TriggerFUSEDaemon)
	announceProbe(r, "app-uid", probes.TriggerMountTable)
	announceProbe(r, "unknown", probes.TriggerMountTable)
	if got := reconcileOnce(t, r, pod).RequeueAfter; got != 10*time.Second || w.countProbes() != 2 {
		t.Fatalf("%d looks, the next in %s, want one more and then the period", w.countProbes(), got)
	}
	if got := reconcileOnce(t, r, pod).RequeueAfter; got != 10*time.Second || w.countProbes() != 2 {
		t.Errorf("%d looks, the next in %s: announced once, looked at twice", w.countProbes(), got)
	}
}

// The event came too late for the probe that was being made.
func TestAnnouncedDuringAProbe(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.duringProbe = func() { announceProbe(r, "app-uid", probes.TriggerMountTable) }
	reconcileOnce(t, r, pod)
	w.duringProbe = nil
	reconcileOnce(t, r, pod) // the controller has received it
	reconcileOnce(t, r, pod)
	if w.countProbes() != 2 {
		t.Errorf("%d looks, want 2", w.countProbes())
	}
}

func TestAnnouncementDoesNotPassTheInitialDelay(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationInitialDelaySeconds: "30"})
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	pod.Status.ContainerStatuses[0].State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch)}
	announceProbe(r, "app-uid", probes.TriggerMountTable)
	if got := reconcileOnce(t, r, pod).RequeueAfter; got != 30*time.Second || w.countProbes() != 1 {
		t.Errorf("%d looks, the next in %s, want it after the delay", w.countProbes(), got)
	}
}

// A failure that is not permanent takes its periods, however many probes are requested.
func TestAnnouncementsProveNothing(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	w.breakMount("/data", probes.CauseIOError)
	for range 100 {
		w.advanceClock(90 * time.Millisecond)
		announceProbe(r, "app-uid", probes.TriggerFileSystemError)
		reconcileOnce(t, r, pod)
	}
	if len(w.copyRequests()) != 0 {
		t.Errorf("a removal was asked for after 100 looks within 9 s")
	}
	w.reconcileTimes(t, r, pod, 3)
	if len(w.copyRequests()) != 1 {
		t.Errorf("%d removals after as many looks as it takes", len(w.copyRequests()))
	}
}

func TestTriggerOfADetection(t *testing.T) {
	w, one, two := newFakeNode(), newPod("one", nil), newPod("two", nil)
	r := w.newReconciler(t)
	w.putObject(one)
	w.putObject(two)
	w.reconcileTimes(t, r, one, 1)
	w.breakMount("/data", probes.CauseDisconnected)
	announceProbe(r, "one-uid", probes.TriggerFUSEDaemon)
	w.reconcileTimes(t, r, one, 2) // found and confirmed
	w.reconcileTimes(t, r, two, 2)
	if diff := cmp.Diff([]probes.Trigger{probes.TriggerFUSEDaemon, probes.TriggerPeriod}, w.triggers); diff != "" {
		t.Errorf("triggers (-want +got):\n%s", diff)
	}
}

// The kubelet names a static pod's directory by the hash of its manifest.
func TestStaticPodIsKnownByItsDirectory(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{corev1.MirrorPodAnnotationKey: "hash"})
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	if got := w.probed[0].UID; got != "hash" {
		t.Errorf("asked for the pod %q", got)
	}
	announceProbe(r, "app-uid", probes.TriggerMountTable)
	reconcileOnce(t, r, pod)
	announceProbe(r, "hash", probes.TriggerMountTable)
	reconcileOnce(t, r, pod)
	if w.countProbes() != 2 {
		t.Errorf("%d looks, want 2", w.countProbes())
	}
}

// The pods that an agent finds when it starts are spread over the period from then on.
func TestPodsAreSpread(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r, err := podmount.New(podmount.Options{
		Client: w, Prober: w, Remediator: w, Meter: w, Recorder: w, Config: config.Default(), Now: w.clock,
		Spread: func(uid types.UID) float64 { return map[types.UID]float64{"app-uid": 0.25}[uid] },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.putObject(pod)
	w.advanceClock(300 * time.Millisecond) // past a whole second, at which groups have their turn
	for look, step := range []struct{ want, late time.Duration }{
		{want: 1700 * time.Millisecond, late: 5 * time.Millisecond}, {want: 9995 * time.Millisecond}, {want: 10 * time.Second}, {want: 10 * time.Second},
	} {
		if got := reconcileOnce(t, r, pod).RequeueAfter; got != step.want {
			t.Errorf("after look %d the next comes in %s, want %s", look, got, step.want)
		}
		w.advanceClock(step.want + step.late)
	}
	if w.countProbes() != 4 {
		t.Errorf("%d looks, want 4", w.countProbes())
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
	a := startAgent(t, "announced")
	pod := a.newPod(server.Namespace(t, nil))
	pod.Annotations[config.AnnotationPeriodSeconds] = "86400"
	uid := string(server.Run(t, pod).UID) // it may have been probed by now, and there is no second probe to wait for
	apitest.Eventually(t, "the first look", func() bool { return a.countProbes() > 0 })
	for range 3 {
		before := a.countProbes()
		go a.Announce(t.Context(), uid, probes.TriggerMountTable)
		apitest.Eventually(t, "one more look", func() bool { return a.countProbes() > before })
	}
}
