package agents_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/mountwarden/mountwarden/controllers/agents"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const namespace, name = "mw", "mountwarden"

func labels() map[string]string { return map[string]string{"app": "mw"} }

// daemonSet is one whose controller wants agents on this many nodes.
func daemonSet(desired int) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "set", Generation: 2},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels()}},
		Status:     appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: int32(desired)}, //nolint:gosec // a handful
	}
}

// pod is an agent that listens at a URL; "" is a pod that has not started.
func pod(t *testing.T, set *appsv1.DaemonSet, node, url string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "agent-" + node, Labels: labels(),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"})},
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "agent"}}},
	}
	if url == "" {
		p.Status.Phase = corev1.PodPending
		return p
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "metrics", ContainerPort: 1}, {Name: "health", ContainerPort: int32(number)}} //nolint:gosec // a port
	p.Status.PodIP = host
	return p
}

// serve is an agent that refuses the paths that are named.
func serve(t *testing.T, refused ...string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case slices.Contains(refused, r.URL.Path):
			http.Error(w, "[-]probes failed: reason withheld"+strings.Repeat("!", 3000), http.StatusInternalServerError)
		case r.URL.Path != "/healthz" && r.URL.Path != "/readyz":
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// silent is an agent that has stopped: it takes the question and never answers.
func silent(t *testing.T) string {
	t.Helper()
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(end) })
	return server.URL
}

// closed is an address that nobody listens at.
func closed(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

func ask(t *testing.T, objects ...runtime.Object) (agents.Report, error) {
	t.Helper()
	return agents.Asker{
		Client: fake.NewClientset(objects...), Namespace: namespace, DaemonSet: name, Timeout: 200 * time.Millisecond,
	}.Ask(t.Context())
}

func TestAllAreHealthy(t *testing.T) {
	set := daemonSet(3)
	url := serve(t)
	report, err := ask(t, set, pod(t, set, "c", url), pod(t, set, "a", url), pod(t, set, "b", url))
	if err != nil || report.Err() != nil {
		t.Fatalf("%v, %v", err, report.Err())
	}
	for i, node := range []string{"a", "b", "c"} {
		if got := report.Agents[i]; got.Node != node || got.Pod != "agent-"+node || got.Problem != "" {
			t.Errorf("agent %d is %+v", i, got)
		}
	}
}

func TestOneThatIsNotIsNamed(t *testing.T) {
	for _, tc := range []struct {
		name string
		url  func(*testing.T) string
		want []string
	}{
		{"not ready", func(t *testing.T) string { return serve(t, "/readyz") }, []string{"/readyz answers 500", "[-]probes failed"}},
		{"not live", func(t *testing.T) string { return serve(t, "/healthz") }, []string{"/healthz answers 500"}},
		{"another program", func(t *testing.T) string { return serve(t, "/healthz", "/readyz") }, []string{"/healthz answers 500"}},
		{"stopped", silent, []string{"/healthz", "deadline exceeded"}},
		{"does not listen", closed, []string{"/healthz", "connection refused"}},
		{"not started", func(*testing.T) string { return "" }, []string{"no address", "Pending"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := daemonSet(2)
			report, err := ask(t, set, pod(t, set, "a", serve(t)), pod(t, set, "b", tc.url(t)))
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Err(); !errors.Is(err, agents.ErrUnhealthy) || !strings.Contains(err.Error(), "1 of 2") {
				t.Errorf("got %v", err)
			}
			if p := report.Agents[0].Problem; p != "" {
				t.Errorf("the healthy one has a problem: %s", p)
			}
			for _, want := range tc.want {
				if p := report.Agents[1].Problem; !strings.Contains(p, want) || len(p) > 500 {
					t.Errorf("%q lacks %q, or is too long", p, want)
				}
			}
		})
	}
}

func TestPodsThatAreNoAgents(t *testing.T) {
	set := daemonSet(1)
	url := serve(t)
	stranger := pod(t, set, "b", closed(t))
	stranger.OwnerReferences = nil
	ending := pod(t, set, "c", closed(t))
	ending.DeletionTimestamp, ending.Finalizers = &metav1.Time{Time: time.Now()}, []string{"example.com/stay"}
	other := pod(t, set, "d", closed(t))
	other.Labels = map[string]string{"app": "other"}
	elsewhere := pod(t, set, "e", closed(t))
	elsewhere.Namespace = "elsewhere"
	report, err := ask(t, set, pod(t, set, "a", url), stranger, ending, other, elsewhere)
	if err != nil || report.Err() != nil || len(report.Agents) != 1 {
		t.Errorf("%v, %v, %+v", err, report.Err(), report.Agents)
	}
}

func TestMissingAgents(t *testing.T) {
	set := daemonSet(3)
	for name, tc := range map[string]struct {
		objects []runtime.Object
		want    string
	}{
		"none":         {[]runtime.Object{set}, "0 of 3"},
		"two":          {[]runtime.Object{set, pod(t, set, "a", serve(t))}, "1 of 3 nodes have one, and 1 of these are healthy"},
		"no node":      {[]runtime.Object{daemonSet(0)}, "selects no node"},
		"no such port": {[]runtime.Object{daemonSet(1), unnamed(pod(t, set, "a", serve(t)))}, "0 of 1"},
	} {
		report, err := ask(t, tc.objects...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := report.Err(); !errors.Is(err, agents.ErrUnhealthy) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

func unnamed(p *corev1.Pod) *corev1.Pod {
	p.Spec.Containers[0].Ports = nil
	return p
}

// An agent whose state is not known is not an unhealthy agent.
func TestCannotTell(t *testing.T) {
	unseen := daemonSet(1)
	unseen.Status.ObservedGeneration = 1
	for name, objects := range map[string][]runtime.Object{"no DaemonSet": nil, "not observed": {unseen}} {
		_, err := ask(t, objects...)
		if err == nil || errors.Is(err, agents.ErrUnhealthy) || !strings.Contains(err.Error(), "DaemonSet mw/mountwarden") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	set := daemonSet(1)
	asker := agents.Asker{
		Client: fake.NewClientset(set, pod(t, set, "a", silent(t))), Namespace: namespace, DaemonSet: name, Timeout: time.Hour,
	}
	report, err := asker.Ask(ctx)
	if err == nil && report.Err() == nil {
		t.Error("an agent that nobody could ask is healthy")
	}
}
