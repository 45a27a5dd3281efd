package policy

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const (
	// costEnv is how many pods a namespace has when its evictions are timed, such as "10,1000,5000": make bench-policies.
	costEnv = "MOUNTWARDEN_POLICY_COST"
	// The policies are taken away and brought back so often, and so many evictions are timed each time.
	costRounds    = 3
	costEvictions = 20
)

// cost is how long evictions take in a namespace, without the policies and with them.
type cost struct {
	pods   int
	who    string
	client kubernetes.Interface
	done   bool                     // not only asked for: a dry run shows the policies' part, and not what an eviction waits for besides
	took   map[bool][]time.Duration // by whether the policies are installed
}

func (c cost) namespace() string { return fmt.Sprintf("pods-%d", c.pods) }

// TestCostOfAnEviction prints what the policies cost. They are off and on in turn on one API server, so that whatever else the machine does falls
// on both. Nothing is asserted of times; the small run of every test shows that all of it works.
func TestCostOfAnEviction(t *testing.T) {
	sizes, rounds, evictions := []int{10}, 1, 3
	if text := os.Getenv(costEnv); text != "" {
		sizes, rounds, evictions = nil, costRounds, costEvictions
		for _, word := range strings.Split(text, ",") {
			n, err := strconv.Atoi(word)
			must(t, err)
			sizes = append(sizes, n)
		}
	}
	c := newCluster(t)
	agent := c.as(account, nodeA)
	var all []cost
	for _, n := range sizes {
		for _, done := range []bool{false, true} {
			all = append(all, cost{n, "an administrator", c.api.Client, done, map[bool][]time.Duration{}},
				cost{n, "an agent", agent, done, map[bool][]time.Duration{}})
		}
		c.crowd(all[len(all)-1].namespace(), n)
	}
	for range rounds {
		for _, installed := range []bool{false, true} {
			if installed {
				c.install()
				c.active(agent, evict)
			}
			for _, k := range all {
				k.took[installed] = append(k.took[installed], c.timed(k, evictions)...)
			}
		}
		c.uninstall(agent)
	}
	t.Log("\n" + costTable(t, all))
}

// crowd fills a namespace with pods.
func (c *cluster) crowd(namespace string, n int) {
	c.t.Helper()
	c.namespace(namespace)
	makers, ctx := errgroup.WithContext(c.t.Context())
	makers.SetLimit(16)
	for i := range n {
		makers.Go(func() error {
			pod := podOn(namespace, fmt.Sprintf("crowd-%d", i), nodeA)
			_, err := c.api.Client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
			return err
		})
	}
	must(c.t, makers.Wait())
}

// timed evicts one pod more than there are, n times. A dry run leaves it there. It is made, and removed for good, outside of what is
// timed; the first dry run after that waits for the API server's cache of PodDisruptionBudgets and does not count, either.
func (c *cluster) timed(k cost, n int) (took []time.Duration) {
	c.t.Helper()
	var pod *corev1.Pod
	for i := range n + 1 {
		if i == 0 || k.done {
			pod = c.pod(k.namespace(), nodeA, "true")
		}
		began := time.Now()
		err := evictBy(k.client, pod, !k.done)
		if i > 0 {
			took = append(took, time.Since(began))
		}
		must(c.t, err)
		if i == n || k.done {
			now := int64(0)
			must(c.t, c.api.Client.CoreV1().Pods(pod.Namespace).Delete(c.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		}
	}
	return took
}

func evictBy(client kubernetes.Interface, pod *corev1.Pod, dry bool) error {
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	if dry {
		eviction.DeleteOptions = &metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}}
	}
	return client.PolicyV1().Evictions(pod.Namespace).Evict(context.Background(), eviction)
}

// uninstall takes the policies away and waits until they are no longer active.
func (c *cluster) uninstall(agent kubernetes.Interface) {
	c.t.Helper()
	c.kubectl(render(c.t), "delete", "-f", "-")
	err := wait.PollUntilContextTimeout(c.t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		err := evict(agent, c.pod("default", nodeB, "true")) //nolint:contextcheck // a pod is made within the test's context
		return err == nil, ignoreForbidden(err)
	})
	if err != nil {
		c.t.Fatalf("the policy does not go: %v", err)
	}
}

func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

func costTable(t *testing.T, all []cost) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores; medians of %d\n\n", cpu(), runtime.NumCPU(), len(all[0].took[true]))
	table := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprint(table, "| pods in the namespace \t| evicted by \t| how \t| without policies \t| with them \t| ratio \t|\n|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	for _, k := range all {
		off, on := median(k.took[false]), median(k.took[true])
		fmt.Fprintf(table, "| %d \t| %s \t| %s \t| %.1f ms \t| %.1f ms \t| %.1f \t|\n", k.pods, k.who, map[bool]string{false: "dry run", true: "done"}[k.done], milliseconds(off), milliseconds(on), float64(on)/float64(off))
	}
	must(t, table.Flush())
	return b.String()
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cpu names the processor.
func cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	_, rest, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(strings.TrimLeft(rest, "\t: "), "\n")
	return line
}
