package policy

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// tableEnv is where the table of TestOwnNode goes, as Markdown.
const tableEnv = "MOUNTWARDEN_POLICY_TABLE"

// request is what somebody asks of a pod that is made for it.
type request struct {
	name        string
	node, watch string // of the pod
	own         bool   // an agent of nodeA may do it
	ask         func(client kubernetes.Interface, pod *corev1.Pod) error
}

func remove(client kubernetes.Interface, pod *corev1.Pod) error {
	return client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, metav1.DeleteOptions{})
}

func removeAll(client kubernetes.Interface, pod *corev1.Pod) error {
	only := metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name}
	return client.CoreV1().Pods(pod.Namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, only)
}

func evict(client kubernetes.Interface, pod *corev1.Pod) error { return evictBy(client, pod, false) }

// status changes a pod's status, or what else that subresource lets through.
func status(body string) func(kubernetes.Interface, *corev1.Pod) error {
	return func(client kubernetes.Interface, pod *corev1.Pod) error { return patch(client, pod, body, "status") }
}

func requests() []request {
	const watched, unwatched = "true", ""
	const own = `{"status": {"conditions": [{"type": "mountwarden.io/MountsHealthy", "status": "False"}]}}`
	return []request{
		{"delete", nodeA, watched, true, remove},
		{"delete, pod of another node", nodeB, watched, false, remove},
		{"delete, pod of no node yet", "", watched, false, remove},
		{"delete, pod that has not opted in", nodeA, unwatched, false, remove},
		{"delete, pod that has opted out", nodeA, "false", false, remove},
		{"delete, pod whose opt-in is not understood", nodeA, "yes", false, remove},
		{"deletecollection", nodeA, watched, true, removeAll},
		{"deletecollection, pod of another node", nodeB, watched, false, removeAll},
		{"deletecollection, pod that has not opted in", nodeA, unwatched, false, removeAll},
		{"evict", nodeA, watched, true, evict},
		{"evict, pod of another node", nodeB, watched, false, evict},
		{"evict, pod of no node yet", "", watched, false, evict},
		{"evict, pod that has not opted in", nodeA, unwatched, false, evict},
		{"evict, pod that has opted out", nodeA, "false", false, evict},
		{"status: its own condition", nodeA, watched, true, status(own)},
		{"status: its own condition, pod whose opt-in is not understood", nodeA, "yes", true, status(own)},
		{"status: its own condition, pod that has not opted in", nodeA, unwatched, false, status(own)},
		{"status: its own condition, pod of another node", nodeB, watched, false, status(own)},
		{"status: DisruptionTarget", nodeA, watched, true, status(`{"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}`)},
		{"status: Ready", nodeA, watched, false, status(`{"status": {"conditions": [{"type": "Ready", "status": "False"}]}}`)},
		{"status: Ready taken away", nodeA, watched, false, status(`{"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}`)},
		{"status: phase", nodeA, watched, false, status(`{"status": {"phase": "Failed"}}`)},
		{"status: pod IP", nodeA, watched, false, status(`{"status": {"podIP": "10.9.9.9", "podIPs": [{"$patch": "replace"}, {"ip": "10.9.9.9"}]}}`)},
		{"status: container statuses", nodeA, watched, false,
			status(`{"status": {"containerStatuses": [{"name": "app", "image": "app", "imageID": "x", "ready": true, "restartCount": 1}]}}`)},
		{"status: reason", nodeA, watched, false, status(`{"status": {"reason": "Evicted"}}`)},
		{"status: a label beside it", nodeA, watched, false, status(`{"metadata": {"labels": {"app": "other"}}}`)},
		{"status: the opt-in beside it", nodeA, "false", false, status(`{"metadata": {"annotations": {"mountwarden.io/watch": "true"}}}`)},
		{"status: a finalizer beside it", nodeA, watched, false, status(`{"metadata": {"finalizers": ["example.com/stay"]}}`)},
		{"update: the opt-in", nodeA, unwatched, false, func(client kubernetes.Interface, pod *corev1.Pod) error {
			return patch(client, pod, `{"metadata": {"annotations": {"mountwarden.io/watch": "true"}}}`)
		}},
		{"update: a label", nodeA, watched, false, func(client kubernetes.Interface, pod *corev1.Pod) error {
			return patch(client, pod, `{"metadata": {"labels": {"app": "other"}}}`)
		}},
	}
}

// active waits until the policies are: an API server needs seconds for new ones.
func (c *cluster) active(agent kubernetes.Interface, ask func(kubernetes.Interface, *corev1.Pod) error) {
	c.t.Helper()
	err := wait.PollUntilContextTimeout(c.t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return apierrors.IsForbidden(ask(agent, c.pod("default", nodeB, "true"))), nil //nolint:contextcheck // a pod is made within the test's context
	})
	if err != nil {
		c.t.Fatalf("the policy does not become active: %v", err)
	}
}

// With the policies an agent's token is good for the pods of its node that have opted in, and for little of them. Nobody else is
// hindered, and without the policies nobody is.
func TestOwnNode(t *testing.T) {
	c := newCluster(t)
	who := []struct {
		name   string
		client kubernetes.Interface
		may    func(request) bool
	}{
		{"agent of " + nodeA, c.as(account, nodeA), func(r request) bool { return r.own }},
		{"agent's account, token of no pod", c.as(account, ""), func(request) bool { return false }},
		{"administrator as the agent's account", c.impersonating(account), func(request) bool { return false }},
		{"another account", c.as(stranger, nodeA), func(request) bool { return true }},
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintf(table, "| request, pod of %s that has opted in \t| token \t| without policies \t| with them \t|\n|---\t|---\t|---\t|---\t|\n", nodeA)
	without := map[string]string{}
	for _, installed := range []bool{false, true} {
		if installed {
			c.install()
			c.active(who[0].client, remove)
			c.active(who[0].client, evict)
		}
		var pods []*corev1.Pod // made before anything is asked: an API server hands the eviction policy those that its own watch has shown
		for _, r := range requests() {
			for range who {
				pods = append(pods, c.pod("default", r.node, r.watch))
			}
		}
		for i, r := range requests() {
			for j, w := range who {
				got := answer(r, w.client, pods[i*len(who)+j])
				want := "allowed"
				if installed && !w.may(r) {
					want = "denied"
				}
				if got != want {
					t.Errorf("%s, %s, policies %t: %s, want %s", r.name, w.name, installed, got, want)
				}
				if !installed {
					without[r.name+w.name] = got
					continue
				}
				fmt.Fprintf(table, "| %s \t| %s \t| %s \t| %s \t|\n", r.name, w.name, without[r.name+w.name], got)
			}
		}
	}
	must(t, table.Flush())
	t.Log("\n" + b.String())
	if path := os.Getenv(tableEnv); path != "" {
		must(t, os.WriteFile(path, []byte(b.String()), 0o644)) //nolint:gosec // for people
	}
}

// answer asks once.
func answer(r request, client kubernetes.Interface, pod *corev1.Pod) string {
	err := r.ask(client, pod)
	switch {
	case err == nil:
		return "allowed"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "agent"):
		return "denied"
	default:
		return err.Error()
	}
}

// The switch of evictions takes away that policy and no other.
func TestEvictionsCanBeLeftOut(t *testing.T) {
	c := newCluster(t)
	agent := c.as(account, nodeA)
	c.install("ownNodePolicies.evictions=false")
	c.active(agent, remove)
	if err := evict(agent, c.pod("default", nodeB, "true")); err != nil {
		t.Errorf("evictions are not looked at, but %v", err)
	}
}
