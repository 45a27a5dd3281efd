package podmount_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"github.com/mountwarden/mountwarden/controllers/podmount"
	"github.com/mountwarden/mountwarden/probes"
)

func TestNewRefusesABadSelector(t *testing.T) {
	cfg := config.Default()
	cfg.Limits.NamespaceSelector = "=x"
	if _, err := podmount.New(podmount.Options{Config: cfg}); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestPodsThatAreNotProbed(t *testing.T) {
	selects := func(c *config.Config) { c.Limits.NamespaceSelector = "mounts=watched" }
	now := metav1.NewTime(epoch)
	for _, tc := range []struct {
		name      string
		pod       func(*corev1.Pod)
		config    func(*config.Config)
		namespace *metav1.PartialObjectMetadata
	}{
		{name: "no annotation", pod: func(p *corev1.Pod) { p.Annotations = nil }},
		{name: "opted out", pod: func(p *corev1.Pod) { p.Annotations[config.AnnotationWatch] = "false" }},
		{name: "other annotations only", pod: func(p *corev1.Pod) { p.Annotations = map[string]string{config.AnnotationMode: "Remediate"} }},
		{name: "terminating", pod: func(p *corev1.Pod) { p.DeletionTimestamp = &now }},
		{name: "pending", pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }},
		{name: "succeeded", pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }},
		{name: "failed", pod: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
		{name: "no phase", pod: func(p *corev1.Pod) { p.Status.Phase = "" }},
		{name: "namespace that is not selected", config: selects, namespace: newNamespace(map[string]string{"mounts": "other"})},
		{name: "namespace without labels", config: selects, namespace: newNamespace(nil)},
		{name: "namespace that is gone", config: selects},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, pod := newFakeNode(), newPod("app", nil)
			if tc.namespace != nil {
				w.putObject(tc.namespace)
			}
			configs := []func(*config.Config){}
			if tc.config != nil {
				configs = append(configs, tc.config)
			}
			r := w.newReconciler(t, configs...)
			if tc.pod != nil { // was watched until now
				w.putObject(pod)
				w.reconcileTimes(t, r, pod, 1)
				pod = pod.DeepCopy()
				tc.pod(pod)
			}
			w.putObject(pod)
			before := w.countProbes()
			if got := reconcileOnce(t, r, pod); got != (ctrl.Result{}) {
				t.Errorf("comes round: %+v", got)
			}
			if w.countProbes() != before || r.PodsWatched() != 0 || len(r.Statuses()) != 0 {
				t.Errorf("%d looks, %d pods watched, %d mounts remembered", w.countProbes()-before, r.PodsWatched(), len(r.Statuses()))
			}
			if len(w.forgotten) != min(before, 1) {
				t.Errorf("after %d looks the prober was told to forget %q", before, w.forgotten)
			}
		})
	}
}

func TestPodThatIsGoneIsForgotten(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.reconcileTimes(t, r, pod, 1)
	w.dropObject(pod)
	if got := reconcileOnce(t, r, pod); got != (ctrl.Result{}) || r.PodsWatched() != 0 || len(r.Statuses()) != 0 {
		t.Errorf("a pod that is gone is remembered: %+v", got)
	}
	if !slices.Equal(w.forgotten, []string{"app-uid"}) {
		t.Errorf("the prober was told to forget %q", w.forgotten)
	}
}

// A cache that cannot be read says nothing about the pod: the read is retried, and nothing is
// forgotten.
func TestCacheErrorForgetsNothing(t *testing.T) {
	for _, kind := range []string{"*v1.Pod", "*v1.PartialObjectMetadata"} {
		t.Run(kind, func(t *testing.T) {
			w, pod := newFakeNode(), newPod("app", nil)
			r := w.newReconciler(t, func(c *config.Config) { c.Limits.NamespaceSelector = "a=b" })
			w.putObject(pod)
			w.putObject(newNamespace(map[string]string{"a": "b"}))
			w.reconcileTimes(t, r, pod, 1)
			w.broken[kind] = errors.New("not synced")
			_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
			if !errors.Is(err, w.broken[kind]) || r.PodsWatched() != 1 || w.countProbes() != 1 {
				t.Errorf("error %v, %d pods watched, %d looks, want the cache's error, 1 and 1", err, r.PodsWatched(), w.countProbes())
			}
		})
	}
}

// An update of the pod causes no probe before its time: it would count towards the threshold.
func TestPeriodIsKept(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseIOError)
	for period := 1; period <= 2; period++ {
		if got := reconcileOnce(t, r, pod).RequeueAfter; got != 10*time.Second {
			t.Fatalf("comes round after %s, want the period", got)
		}
		for left := 10 * time.Second; left > 0; left -= 500 * time.Millisecond {
			if got := reconcileOnce(t, r, pod).RequeueAfter; got != left {
				t.Fatalf("comes round after %s, want the rest of the period, %s", got, left)
			}
			w.advanceClock(500 * time.Millisecond)
		}
		if w.countProbes() != period {
			t.Fatalf("%d looks in %d periods", w.countProbes(), period)
		}
	}
	if len(w.copyRequests()) != 0 {
		t.Error("a removal was asked for after two looks")
	}
}

func TestInitialDelay(t *testing.T) {
	pod := newPod("app", map[string]string{config.AnnotationInitialDelaySeconds: "30"})
	started := func(s int) {
		pod.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(epoch.Add(time.Duration(s) * time.Second))
	}
	old := metav1.NewTime(epoch.Add(-time.Hour))
	pod.Status.StartTime = &old // long ago: the images took an hour to pull

	w := newFakeNode()
	r := w.newReconciler(t)
	w.putObject(pod)
	started(-5)
	if got := reconcileOnce(t, r, pod).RequeueAfter; got != 25*time.Second || w.countProbes() != 0 {
		t.Errorf("%d looks, the first in %s, want it 25 s from now", w.countProbes(), got)
	}
	if late := r.Overdue(); late != 0 {
		t.Errorf("a look that waits for its start is %s late", late)
	}
	started(-30)
	w.reconcileTimes(t, r, pod, 1)
	if w.countProbes() != 1 {
		t.Errorf("%d looks after the delay, want 1", w.countProbes())
	}
	started(8) // restarted: it may mount again
	if got := reconcileOnce(t, r, pod).RequeueAfter; got != 28*time.Second {
		t.Errorf("looks again in %s, want 28 s", got)
	}
	w.advanceClock(27 * time.Second)
	if late := r.Overdue(); late != 0 {
		t.Errorf("a look that waits for a restarted container is %s late", late)
	}
	w.advanceClock(3 * time.Second)
	if late := r.Overdue(); late != 2*time.Second {
		t.Errorf("a look that was not made when the container had its time is %s late, want 2 s", late)
	}
	pod.Status.ContainerStatuses[0].State.Running = nil // waiting for its restart
	w.reconcileTimes(t, r, pod, 1)
	if w.countProbes() != 2 {
		t.Errorf("%d looks, want 2: nothing runs that a delay could be for", w.countProbes())
	}
}

// A container without a watched mount may restart as often as it likes.
func TestInitialDelayIsOfWatchedContainers(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", map[string]string{config.AnnotationInitialDelaySeconds: "30"})
	young := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch)}}
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "plain"})
	pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "plain", State: young})
	w.putObject(pod)
	w.reconcileTimes(t, w.newReconciler(t), pod, 1)
	if w.countProbes() != 1 {
		t.Errorf("%d looks, want 1", w.countProbes())
	}
}

func TestWhatTheProberIsAsked(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := withMount(newPod("app", nil), "more", "/more")
	data := []corev1.VolumeMount{{Name: "data", MountPath: "/d"}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "once", VolumeMounts: data}, {Name: "sidecar", VolumeMounts: data, RestartPolicy: &always}}
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "waiting", VolumeMounts: data}, corev1.Container{Name: "plain"})
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", VolumeMounts: data}}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch)}}
	pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "sidecar", ContainerID: "cri-o://s-id", State: running}}
	pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "waiting", ContainerID: "containerd://dead"})
	pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "debug", ContainerID: "containerd://d-id", State: running}}

	w := newFakeNode()
	w.putObject(pod)
	w.reconcileTimes(t, w.newReconciler(t), pod, 1)
	mount := func(volume, path string) probes.Mount {
		return probes.Mount{Volume: volume, Path: path, Host: probes.HostVolume{Folder: "kubernetes.io~csi/" + volume + "/mount"}}
	}
	d := []probes.Mount{mount("data", "/d")}
	want := []probes.Pod{{UID: "app-uid", Namespace: "default", Name: "app", Containers: []probes.Container{
		{Name: "sidecar", ID: "s-id", Mounts: d},
		{Name: "app", ID: "app-id", Mounts: []probes.Mount{mount("data", "/data"), mount("more", "/more")}},
		{Name: "waiting", ID: "", Mounts: d}, // known, not running
		{Name: "debug", ID: "d-id", Mounts: d},
	}}}
	if diff := cmp.Diff(want, w.probed); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestRecreatedPodStartsWithoutAPast(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseIOError)
	w.reconcileTimes(t, r, pod, 2)
	successor := pod.DeepCopy()
	successor.UID = "successor"
	w.putObject(successor)
	w.reconcileTimes(t, r, successor, 2)
	if n := len(w.copyRequests()); n != 0 {
		t.Errorf("%d removals of a pod that was looked at twice: it inherited its predecessor's looks", n)
	}
	w.reconcileTimes(t, r, successor, 1)
	asked := w.copyRequests()
	if len(asked) != 1 || asked[0].Pod.UID != "successor" || asked[0].Decision.Failures[0].Looks != 3 {
		t.Errorf("asked %+v, want the successor's removal after three looks of its own", asked)
	}
	if want := []string{"app-uid"}; !slices.Equal(w.forgotten, want) {
		t.Errorf("the prober was told to forget %q, want %q", w.forgotten, want)
	}
}

// The replacement pod is probed at once, not when its predecessor's next probe was due.
func TestSuccessorDoesNotWaitForItsPredecessor(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	reconcileOnce(t, r, pod)
	successor := pod.DeepCopy()
	successor.UID = "successor"
	w.putObject(successor)
	reconcileOnce(t, r, successor)
	if w.countProbes() != 2 {
		t.Errorf("%d looks, want 2", w.countProbes())
	}
}

func TestStoppedDuringAProbe(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.breakMount("/data", probes.CauseDisconnected)
	w.reconcileTimes(t, r, pod, 1)
	scanned := r.LastScan()

	ctx, stop := context.WithCancel(t.Context())
	w.duringProbe = stop
	got, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
	if err != nil || got != (ctrl.Result{}) {
		t.Errorf("got %+v, %v, want nothing", got, err)
	}
	if n := len(w.copyRequests()); n != 0 || r.Statuses()[0].Mount.Looks != 1 || !r.LastScan().Equal(scanned) {
		t.Errorf("a look that was cut short was judged: %d removals, %+v", n, r.Statuses())
	}
}

func TestStatuses(t *testing.T) {
	w := newFakeNode()
	one := withMount(newPod("one", nil), "more", "/more")
	two := newPod("two", map[string]string{config.AnnotationMode: "Report", corev1.MirrorPodAnnotationKey: "manifest"})
	r := w.newReconciler(t)
	if !r.LastScan().IsZero() || r.PodsWatched() != 0 || r.Statuses() != nil || r.Overdue() != 0 {
		t.Error("something is known before the first look")
	}
	w.putObject(one)
	w.putObject(two)
	w.breakMount("/more", probes.CauseStale)
	w.answers[0] = newHeld("DryRun")
	reconcileOnce(t, r, one)
	w.advanceClock(time.Second)
	reconcileOnce(t, r, one)
	reconcileOnce(t, r, two)

	got := map[string]string{}
	for _, s := range r.Statuses() {
		got[s.Namespace+"/"+s.Pod+s.Target.Path] = fmt.Sprint(s.Mount.Phase, " ", s.Held, " ", s.PodUID, " ", s.FolderUID, " ", s.Mode, " ", s.Backend)
	}
	want := map[string]string{
		"default/one/data": "Healthy DryRun one-uid one-uid Remediate CSI/fuse.csi.example",
		"default/one/more": "Failed DryRun one-uid one-uid Remediate CSI/fuse.csi.example",
		"default/two/data": "Healthy  two-uid manifest Report CSI/fuse.csi.example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	if r.PodsWatched() != 2 || !r.LastScan().Equal(w.clock()) || w.observed != 5 {
		t.Errorf("%d pods, last scan %s, %d looks counted", r.PodsWatched(), r.LastScan(), w.observed)
	}
}

func TestOverdue(t *testing.T) {
	w, pod, late := newFakeNode(), newPod("app", nil), newPod("late", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	w.putObject(late)
	reconcileOnce(t, r, late)
	w.advanceClock(3 * time.Second)
	reconcileOnce(t, r, pod)
	for _, tc := range []struct{ pass, want time.Duration }{{0, 0}, {7 * time.Second, 0}, {time.Second, time.Second}, {time.Minute, 61 * time.Second}} {
		w.advanceClock(tc.pass)
		if got := r.Overdue(); got != tc.want {
			t.Errorf("overdue by %s, want %s", got, tc.want)
		}
	}
	reconcileOnce(t, r, late)
	reconcileOnce(t, r, pod)
	if got := r.Overdue(); got != 0 {
		t.Errorf("overdue by %s after a look", got)
	}
}

// A probe that never returns is late from the end of its timeout on.
func TestOverdueDuringAProbe(t *testing.T) {
	w, pod := newFakeNode(), newPod("app", nil)
	r := w.newReconciler(t)
	w.putObject(pod)
	var during time.Duration
	w.duringProbe = func() {
		w.advanceClock(6 * time.Second)
		during = r.Overdue()
	}
	reconcileOnce(t, r, pod)
	if during != time.Second {
		t.Errorf("a look that takes 6 s is overdue by %s, want 1 s past its timeout", during)
	}
}

// Many pods at once, while metrics read: for the race detector.
func TestManyPodsAtOnce(t *testing.T) {
	w := newFakeNode()
	r := w.newReconciler(t)
	w.breakMount("/data", probes.CauseDisconnected)
	w.answers[0] = newHeld("DryRun")
	const pods, rounds = 20, 20
	var all, reader sync.WaitGroup
	stop := make(chan struct{})
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, _, _, _ = r.Statuses(), r.PodsWatched(), r.Overdue(), r.LastScan()
			}
		}
	})
	for i := range pods {
		pod := newPod(fmt.Sprint("app-", i), nil)
		w.putObject(pod)
		all.Go(func() {
			for range rounds {
				_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(pod)})
				if err != nil {
					t.Error(err)
				}
				w.advanceClock(time.Second)
			}
		})
	}
	all.Wait()
	close(stop)
	reader.Wait()
	if got := r.PodsWatched(); got != pods {
		t.Errorf("%d pods are watched, want %d", got, pods)
	}
	for _, e := range w.listEvents("Pod", "") {
		if !strings.HasPrefix(e.regarding.Name, "app-") {
			t.Errorf("event on %+v", e.regarding)
		}
	}
	if got := len(w.listEvents("Pod", "RemediationHeld")); got != pods {
		t.Errorf("%d pods were reported as held, want each of %d once", got, pods)
	}
}
