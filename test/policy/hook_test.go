package policy

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/controllers/agents"
	"github.com/mountwarden/mountwarden/test/internal/helm"
)

// apply makes what one template of the chart renders to.
func (s server) apply(t *testing.T, file string) {
	t.Helper()
	text, err := helm.Run(t, "template", "mountwarden", chartDir, "--namespace", home, "--show-only", file)
	must(t, err)
	for _, object := range objects(t, text) {
		must(t, s.create(t, object, metav1.CreateOptions{}))
	}
}

// run plays the DaemonSet's controller and the kubelet of a node: an agent whose health is asked for at a URL.
func (c *cluster) run(node, url string) {
	c.t.Helper()
	ctx, sets, pods := c.t.Context(), c.api.Client.AppsV1().DaemonSets(home), c.api.Client.CoreV1().Pods(home)
	set, err := sets.Get(ctx, "mountwarden", metav1.GetOptions{})
	must(c.t, err)
	set.Status.ObservedGeneration, set.Status.DesiredNumberScheduled = set.Generation, 1
	_, err = sets.UpdateStatus(ctx, set, metav1.UpdateOptions{})
	must(c.t, err)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	must(c.t, err)
	number, err := strconv.ParseInt(port, 10, 32)
	must(c.t, err)
	template := set.Spec.Template
	template.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "health", ContainerPort: int32(number)}}
	template.Spec.NodeName, template.Spec.PriorityClassName = node, ""
	pod, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "agent", Labels: template.Labels, OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))},
	}, Spec: template.Spec}, metav1.CreateOptions{})
	must(c.t, err)
	pod.Status.PodIP, pod.Status.PodIPs = host, []corev1.PodIP{{IP: host}}
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	must(c.t, err)
}

// The account of `helm test` may ask for what the hook asks, finds an agent that is not well, and may do nothing else.
func hook(t *testing.T, c *cluster, s server) {
	t.Helper()
	s.apply(t, "templates/daemonset.yaml")
	s.apply(t, "templates/tests/agents.yaml")
	var sick atomic.Bool
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() && r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer agent.Close()
	c.run(nodeA, agent.URL)

	client := c.as("mountwarden-test", "")
	asker := agents.Asker{Client: client, Namespace: home, DaemonSet: "mountwarden", Timeout: 10 * time.Second}
	report, err := asker.Ask(t.Context())
	if err != nil || report.Err() != nil || len(report.Agents) != 1 || report.Agents[0].Node != nodeA {
		t.Errorf("%v, %+v", err, report)
	}
	sick.Store(true)
	report, err = asker.Ask(t.Context())
	if err != nil || !errors.Is(report.Err(), agents.ErrUnhealthy) {
		t.Errorf("an agent that is not ready: %v, %+v", err, report)
	}

	for what, err := range map[string]error{
		"list pods elsewhere": second(client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})),
		"get a pod":           second(client.CoreV1().Pods(home).Get(t.Context(), "agent", metav1.GetOptions{})),
		"delete a pod":        client.CoreV1().Pods(home).Delete(t.Context(), "agent", metav1.DeleteOptions{}),
		"get another set":     second(client.AppsV1().DaemonSets(home).Get(t.Context(), "other", metav1.GetOptions{})),
		"list DaemonSets":     second(client.AppsV1().DaemonSets(home).List(t.Context(), metav1.ListOptions{})),
		"list Secrets":        second(client.CoreV1().Secrets(home).List(t.Context(), metav1.ListOptions{})),
		"list Leases":         second(client.CoordinationV1().Leases(home).List(t.Context(), metav1.ListOptions{})),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("may %s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
