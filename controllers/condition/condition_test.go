package condition_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/condition"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

var when = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

func unhealthy(message string) corev1.PodCondition {
	return corev1.PodCondition{
		Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionFalse, Reason: "Disconnected", Message: message, LastTransitionTime: when,
	}
}

// newPod returns a pod in a namespace of the test's own, with the conditions that a kubelet writes.
func newPod(t *testing.T) *corev1.Pod {
	t.Helper()
	server.Require(t)
	t.Parallel()
	pod := server.Run(t, apitest.NewPod(server.Namespace(t, nil), "app"))
	return server.ChangeStatus(t, pod, func(s *corev1.PodStatus) {
		for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
			s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, Message: "kubelet's", LastTransitionTime: when})
		}
	})
}

func write(t *testing.T, pod *corev1.Pod, c corev1.PodCondition) error {
	t.Helper()
	return condition.New(server.Client.CoreV1()).WriteCondition(apitest.Context(t), pod, c)
}

// find returns the conditions of a pod as the API server has them, without those that it makes
// itself.
func find(t *testing.T, pod *corev1.Pod) map[corev1.PodConditionType]corev1.PodCondition {
	t.Helper()
	all := map[corev1.PodConditionType]corev1.PodCondition{}
	for _, c := range server.Get(t, pod).Status.Conditions {
		if _, twice := all[c.Type]; twice {
			t.Errorf("condition %s stands there twice", c.Type)
		}
		c.LastTransitionTime = metav1.NewTime(c.LastTransitionTime.UTC())
		all[c.Type] = c
	}
	return all
}

// Whatever is written, the kubelet's conditions and the rest of the pod stay as they were.
func TestOnlyTheConditionIsWritten(t *testing.T) {
	pod := newPod(t)
	for _, want := range []corev1.PodCondition{
		unhealthy("container app, /data"),
		{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionTrue, Reason: "MountsHealthy", LastTransitionTime: when}, // no message any more
		unhealthy("again"),
		unhealthy("again"),
		unhealthy(strings.Repeat("é", 512)),
	} {
		if err := write(t, pod, want); err != nil {
			t.Fatal(err)
		}
		got := find(t, pod)
		if diff := cmp.Diff(want, got[want.Type]); diff != "" {
			t.Errorf("condition (-want +got):\n%s", diff)
		}
		for _, kind := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
			if c := got[kind]; c.Status != corev1.ConditionTrue || c.Message != "kubelet's" {
				t.Errorf("condition %s is %+v", kind, c)
			}
		}
		live := server.Get(t, pod)
		if diff := cmp.Diff(pod.Spec, live.Spec); diff != "" || live.Status.Phase != pod.Status.Phase || !cmp.Equal(pod.Annotations, live.Annotations) {
			t.Errorf("the pod was changed (-before +after):\n%s", diff)
		}
	}
}

// A kubelet that writes its whole status at the same time loses nothing, and so does nobody else.
func TestOtherWritersAreNotOverwritten(t *testing.T) {
	pod := newPod(t)
	if err := write(t, pod, unhealthy("m")); err != nil {
		t.Fatal(err)
	}
	server.ChangeStatus(t, pod, func(s *corev1.PodStatus) {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: "example.com/other", Status: corev1.ConditionTrue, LastTransitionTime: when})
	})
	healthy := corev1.PodCondition{Type: controllers.ConditionMountsHealthy, Status: corev1.ConditionTrue, LastTransitionTime: when}
	if err := write(t, pod, healthy); err != nil { // with the pod as it was long before
		t.Fatal(err)
	}
	got := find(t, pod)
	if got["example.com/other"].Status != corev1.ConditionTrue || got[healthy.Type].Status != corev1.ConditionTrue {
		t.Errorf("conditions %+v", got)
	}
}

// A successor of the same name does not get what was found at its predecessor.
func TestSuccessorIsLeftAlone(t *testing.T) {
	pod := newPod(t)
	server.Vanish(t, pod)
	successor := server.Run(t, apitest.NewPod(pod.Namespace, pod.Name))
	err := write(t, pod, unhealthy("m"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), pod.Namespace+"/app") || !strings.Contains(err.Error(), "metadata.uid") {
		t.Errorf("got %v, want it refused for the UID, by the pod's name", err)
	}
	if got := find(t, successor); len(got) > 0 {
		t.Errorf("the successor has %+v", got)
	}
	server.Vanish(t, successor)
	if err := write(t, pod, unhealthy("m")); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}

// A pod that ends is marked all the same: it is still in Services that publish it.
func TestTerminatingPod(t *testing.T) {
	pod := newPod(t)
	server.Delete(t, pod)
	if err := write(t, pod, unhealthy("m")); err != nil {
		t.Fatal(err)
	}
	if find(t, pod)[controllers.ConditionMountsHealthy].Status != corev1.ConditionFalse || server.Get(t, pod).DeletionTimestamp == nil {
		t.Error("not marked")
	}
}

func TestRefused(t *testing.T) {
	pod := newPod(t)
	nobody, err := kubernetes.NewForConfig(server.User(t, "condition-nobody"))
	if err != nil {
		t.Fatal(err)
	}
	err = condition.New(nobody.CoreV1()).WriteCondition(apitest.Context(t), pod, unhealthy("m"))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "pods/status") {
		t.Errorf("got %v, want it forbidden, by name", err)
	}
	if got := find(t, pod); len(got) != 2 {
		t.Errorf("conditions %+v", got)
	}
}

// An API server that takes the question and never answers holds nobody up.
func TestDeadline(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: silent.URL})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "app", UID: types.UID("u")}}
	began := time.Now()
	if err := condition.New(client.CoreV1()).WriteCondition(t.Context(), pod, unhealthy("m")); err == nil || errors.Is(err, t.Context().Err()) {
		t.Errorf("got %v, want a timeout of the call's own", err)
	}
	if took := time.Since(began); took < 4*time.Second || took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
