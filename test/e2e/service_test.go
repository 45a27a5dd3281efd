package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/mountwarden/mountwarden/test/world"
)

// A pod whose readiness gate waits for healthy mounts leaves its Services before it is removed, so that no client is sent to a pod
// that ends. The order is that of the resourceVersions, which one API server counts for all kinds.
func TestAPodLeavesItsServicesFirst(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.service()
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched(), Adapt: func(spec *corev1.PodSpec) {
		spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "mountwarden.io/MountsHealthy"}}
	}})[0]
	s.watched(&pod, "data")
	order := s.watchOrder(&pod)
	s.until("the endpoint", func(context.Context) (bool, error) { return order.in(), nil })

	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	var left, ending int64
	s.until("the pod's end and its endpoint's", func(context.Context) (bool, error) {
		left, ending = order.marks()
		return left > 0 && ending > 0, fmt.Errorf("left at %d, ending at %d", left, ending)
	})
	if left >= ending {
		t.Errorf("the endpoint was ready until revision %d, the pod has been ending since %d", left, ending)
	}
	t.Logf("out of the Service at revision %d, ending at %d", left, ending)
	s.healed(&pod)
	s.until("the successor's endpoint", func(ctx context.Context) (bool, error) { return s.served(ctx) })
}

// service selects the app.
func (s *scene) service() {
	s.Helper()
	_, err := s.Client.CoreV1().Services(s.namespace).Create(s.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "app"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "app"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}},
		},
	}, metav1.CreateOptions{})
	must(s.T, err)
}

// served reports whether the Service has a ready endpoint.
func (s *scene) served(ctx context.Context) (bool, error) {
	slices, err := s.Client.DiscoveryV1().EndpointSlices(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	for i := range slices.Items {
		for _, e := range slices.Items[i].Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				return true, nil
			}
		}
	}
	return false, fmt.Errorf("%d slices", len(slices.Items))
}

// order is at which revision a pod was out of its Service, and at which it began to end.
type order struct {
	mu           sync.Mutex
	ready        bool
	left, ending int64
}

// watchOrder watches the endpoint of the pod, and the pod, until the test ends.
func (s *scene) watchOrder(pod *corev1.Pod) *order {
	s.Helper()
	o := &order{}
	slices, err := s.Client.DiscoveryV1().EndpointSlices(s.namespace).Watch(s.ctx, metav1.ListOptions{})
	must(s.T, err)
	pods, err := s.Client.CoreV1().Pods(s.namespace).Watch(s.ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	must(s.T, err)
	var watching sync.WaitGroup
	for _, w := range []watch.Interface{slices, pods} {
		watching.Go(func() {
			for e := range w.ResultChan() {
				o.take(e, pod)
			}
		})
	}
	s.Cleanup(func() { slices.Stop(); pods.Stop(); watching.Wait() })
	return o
}

func (o *order) take(e watch.Event, pod *corev1.Pod) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch object := e.Object.(type) {
	case *corev1.Pod:
		if object.DeletionTimestamp != nil && o.ending == 0 {
			o.ending = revision(object)
		}
	case *discoveryv1.EndpointSlice:
		is := readyIn(object, pod)
		if o.ready && !is && o.left == 0 {
			o.left = revision(object)
		}
		o.ready = is
	}
}

func readyIn(slice *discoveryv1.EndpointSlice, pod *corev1.Pod) bool {
	for _, e := range slice.Endpoints {
		if e.TargetRef != nil && e.TargetRef.UID == pod.UID {
			return e.Conditions.Ready != nil && *e.Conditions.Ready
		}
	}
	return false
}

func revision(o metav1.Object) int64 {
	n, err := strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (o *order) in() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ready
}

func (o *order) marks() (left, ending int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.left, o.ending
}
