package podmount_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/podmount"
)

func mustStrip(t *testing.T, o any) any {
	t.Helper()
	got, err := podmount.Strip(o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A stripped pod means the same as a whole one: the same policy, the same probes, the same events.
func TestStripKeepsWhatIsUsed(t *testing.T) {
	seed := time.Now().UnixNano()
	random := rand.New(rand.NewSource(seed))
	cfg := config.Default()
	cfg.NodeName = apitest.Node
	watched := 0
	for i := range 500 {
		whole := randomPod(random)
		stripped := mustStrip(t, whole.DeepCopy()).(*corev1.Pod)
		want, wantErr := config.ParsePolicy(whole, cfg)
		got, gotErr := config.ParsePolicy(stripped, cfg)
		if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(wantErr) != fmt.Sprint(gotErr) {
			t.Fatalf("seed %d, pod %d: the policy differs (-whole +stripped): %v, %v\n%s", seed, i, wantErr, gotErr, diff)
		}
		if diff := cmp.Diff(describeRun(t, whole), describeRun(t, stripped)); diff != "" {
			t.Fatalf("seed %d, pod %d: it lives otherwise (-whole +stripped):\n%s", seed, i, diff)
		}
		if wantErr == nil && want.Watch {
			watched++
		}
	}
	if watched < 50 {
		t.Errorf("only %d pods with a valid policy: the property proves little", watched)
	}
}

// describeRun says what a Reconciler does with a pod whose mounts break.
func describeRun(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	w := newFakeNode()
	w.putObject(pod)
	w.breakMount("/mnt/0", "Disconnected")
	w.answers[0] = newHeld("DryRun")
	r := w.newReconciler(t)
	for range 4 {
		w.advanceClock(reconcileOnce(t, r, pod).RequeueAfter)
	}
	text := fmt.Sprintf("%+v\n", w.probed)
	for _, e := range w.events {
		text += fmt.Sprintf("%+v %s %s %s\n", e.regarding, e.reason, e.action, e.note)
	}
	return text
}

func randomPod(random *rand.Rand) *corev1.Pod {
	pod := newPod("app", nil)
	pod.Labels, pod.Finalizers = map[string]string{"a": "b"}, []string{"example.com/f"}
	pod.Annotations["example.com/other"] = "x"
	pod.Spec.Volumes, pod.Spec.Containers, pod.Status = nil, nil, corev1.PodStatus{Phase: corev1.PodRunning}
	one := func(values ...string) string { return values[random.Intn(len(values))] }
	for key, values := range map[string][]string{
		config.AnnotationWatch:            {"true", "true", "true", "false", "maybe"},
		config.AnnotationVolumes:          {"v0", "v0,v1", "v9"},
		config.AnnotationContainers:       {"c0", "c0,c1", "i0"},
		config.AnnotationMode:             {"Report", "Remediate"},
		config.AnnotationPeriodSeconds:    {"1", "7", "-1"},
		config.AnnotationPrefix + "bogus": {"x"},
	} {
		if key == config.AnnotationWatch || random.Intn(6) == 0 {
			pod.Annotations[key] = one(values...)
		}
	}
	if random.Intn(5) == 0 {
		pod.OwnerReferences = nil
	}
	volumes := 1 + random.Intn(4)
	for i := range volumes {
		v := apitest.Volume(fmt.Sprint("v", i))
		if random.Intn(4) == 0 {
			v.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, v)
	}
	always := corev1.ContainerRestartPolicyAlways
	for i := range 3 {
		c := corev1.Container{Name: fmt.Sprint("c", i), Image: "registry.example/app", Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "secret"}}, Args: []string{"--token=secret"}}
		c.VolumeMounts = []corev1.VolumeMount{{Name: fmt.Sprint("v", random.Intn(volumes)), MountPath: fmt.Sprint("/mnt/", i)}}
		status := corev1.ContainerStatus{Name: c.Name, ContainerID: one("containerd://", "", "cri-o://") + c.Name, ImageID: "registry.example/app"}
		if random.Intn(3) > 0 {
			status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(epoch.Add(time.Duration(random.Intn(60)-60) * time.Second))}
		}
		switch random.Intn(4) {
		case 0:
			c.RestartPolicy = &always
			pod.Spec.InitContainers, pod.Status.InitContainerStatuses = append(pod.Spec.InitContainers, c), append(pod.Status.InitContainerStatuses, status)
		case 1:
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon(c)})
			pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, status)
		default:
			pod.Spec.Containers, pod.Status.ContainerStatuses = append(pod.Spec.Containers, c), append(pod.Status.ContainerStatuses, status)
		}
	}
	return pod
}

func TestStripHoldsNoSecrets(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 100 {
		text, err := json.Marshal(mustStrip(t, randomPod(random)))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"secret", "PASSWORD", "example.com/other", "registry.example"} {
			if strings.Contains(string(text), word) {
				t.Fatalf("the cache holds %s: %s", word, text)
			}
		}
	}
}

// client-go may transform an object that was transformed before.
func TestStripTwiceIsStripOnce(t *testing.T) {
	random := rand.New(rand.NewSource(2))
	for range 100 {
		once := mustStrip(t, randomPod(random)).(*corev1.Pod)
		if diff := cmp.Diff(once, mustStrip(t, once.DeepCopy())); diff != "" {
			t.Fatalf("differs (-once +twice):\n%s", diff)
		}
	}
}

// The checks before an eviction and the follow-up after it need these.
func TestStripKeepsForTheRemoval(t *testing.T) {
	grace := int64(7)
	pod := newPod("app", nil)
	pod.Labels, pod.CreationTimestamp = map[string]string{"app": "a", "pod-template-hash": "b"}, metav1.NewTime(epoch)
	pod.Spec.TerminationGracePeriodSeconds = &grace
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: controllers.ConditionMountsHealthy}, {ConditionType: "example.com/other"}}
	ours := corev1.PodCondition{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionFalse, Reason: "Stale", Message: "m", LastTransitionTime: metav1.NewTime(epoch)}
	ready := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ReadinessGatesNotReady"}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled}, ours, {Type: "example.com/other", Message: "m"}, ready, {Type: corev1.ContainersReady}}
	got := mustStrip(t, pod.DeepCopy()).(*corev1.Pod)
	if diff := cmp.Diff([]corev1.PodCondition{ours, ready}, got.Status.Conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(pod.Labels, got.Labels); diff != "" || !got.CreationTimestamp.Equal(&pod.CreationTimestamp) {
		t.Errorf("created %s, labels (-want +got):\n%s", got.CreationTimestamp, diff)
	}
	if diff := cmp.Diff(pod.Spec.ReadinessGates, got.Spec.ReadinessGates); diff != "" || *got.Spec.TerminationGracePeriodSeconds != grace {
		t.Errorf("grace %d, gates (-want +got):\n%s", *got.Spec.TerminationGracePeriodSeconds, diff)
	}
}

// Of a namespace or a node, what selects it and what pauses it are kept; a cluster may have many
// namespaces.
func TestStripMetadata(t *testing.T) {
	object := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "n", UID: "u", ResourceVersion: "7", Labels: map[string]string{"team": "data"}, Finalizers: []string{"f"},
			Annotations:   map[string]string{config.AnnotationPaused: "backup", "example.com/token": "secret", "kubectl.kubernetes.io/last-applied-configuration": "{}"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
		},
	}
	want := &metav1.PartialObjectMetadata{
		TypeMeta: object.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: "n", UID: "u", ResourceVersion: "7", Labels: map[string]string{"team": "data"},
			Annotations: map[string]string{config.AnnotationPaused: "backup"},
		},
	}
	got := mustStrip(t, object).(*metav1.PartialObjectMetadata)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(got, mustStrip(t, got.DeepCopy())); diff != "" {
		t.Errorf("differs (-once +twice):\n%s", diff)
	}
}

func TestStripOtherObjects(t *testing.T) {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}}}}
	got := mustStrip(t, ns).(*corev1.Namespace)
	if got.Labels["a"] != "b" || got.ManagedFields != nil {
		t.Errorf("got %+v", got)
	}
	if _, err := podmount.Strip("no object"); err == nil {
		t.Error("a string was taken for an API object")
	}
}
