package agents

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mountwarden/mountwarden/controllers/internal/text"
)

const (
	healthPort        = "health" // name of the container port in the chart
	maxConcurrentAsks = 32       // agents
	maxAnswerBytes    = 200      // of an answer that is not 200
)

// ErrUnhealthy says that an agent is missing or unhealthy. Other errors mean that this is not
// known.
var ErrUnhealthy = errors.New("not every agent is healthy")

// Agent is what is known of one agent.
type Agent struct {
	Node, Pod string
	Problem   string // "" when it is healthy
}

// Report is what is known of all agents, by the names of their nodes.
type Report struct {
	Desired int // nodes that should have an agent
	Agents  []Agent
}

// Err returns nil when every node that should have an agent has a healthy one, else ErrUnhealthy
// with numbers.
func (r Report) Err() error {
	healthy := 0
	for _, a := range r.Agents {
		if a.Problem == "" {
			healthy++
		}
	}
	switch {
	case r.Desired == 0:
		return fmt.Errorf("%w: the DaemonSet selects no node", ErrUnhealthy)
	case len(r.Agents) < r.Desired:
		return fmt.Errorf("%w: %d of %d nodes have one, and %d of these are healthy", ErrUnhealthy, len(r.Agents), r.Desired, healthy)
	case healthy < len(r.Agents):
		return fmt.Errorf("%w: %d of %d are", ErrUnhealthy, healthy, len(r.Agents))
	default:
		return nil
	}
}

// Asker asks the agents of one DaemonSet.
type Asker struct {
	Client               kubernetes.Interface
	Namespace, DaemonSet string
	Timeout              time.Duration // for each answer of an agent
}

// Ask asks each agent once. The error says why the agents could not be found.
func (a Asker) Ask(ctx context.Context) (Report, error) {
	set, err := a.Client.AppsV1().DaemonSets(a.Namespace).Get(ctx, a.DaemonSet, metav1.GetOptions{})
	if err != nil {
		return Report{}, fmt.Errorf("get DaemonSet %s/%s: %w", a.Namespace, a.DaemonSet, err)
	}
	if set.Status.ObservedGeneration < set.Generation {
		return Report{}, fmt.Errorf("DaemonSet %s/%s: its controller has not seen its latest change yet", a.Namespace, a.DaemonSet)
	}
	pods, err := a.listAgentPods(ctx, set)
	if err != nil {
		return Report{}, err
	}
	report := Report{Desired: int(set.Status.DesiredNumberScheduled), Agents: make([]Agent, len(pods))}
	client := &http.Client{Timeout: a.Timeout, Transport: &http.Transport{DisableKeepAlives: true}}
	var group errgroup.Group
	group.SetLimit(maxConcurrentAsks)
	for i, pod := range pods {
		group.Go(func() error {
			report.Agents[i] = Agent{Node: pod.Spec.NodeName, Pod: pod.Name, Problem: findProblem(ctx, client, pod)}
			return nil
		})
	}
	return report, group.Wait()
}

// listAgentPods returns the agents' pods by node, without those that terminate.
func (a Asker) listAgentPods(ctx context.Context, set *appsv1.DaemonSet) ([]corev1.Pod, error) {
	list, err := a.Client.CoreV1().Pods(a.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(set.Spec.Selector)})
	if err != nil {
		return nil, fmt.Errorf("list the agents: %w", err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil || !metav1.IsControlledBy(&p, set) })
	slices.SortFunc(pods, func(p, q corev1.Pod) int {
		return cmp.Or(cmp.Compare(p.Spec.NodeName, q.Spec.NodeName), cmp.Compare(p.Name, q.Name))
	})
	return pods, nil
}

// findProblem asks one agent whether its probe loop runs and whether it has free slots for probes.
// It returns "" if both are so.
func findProblem(ctx context.Context, client *http.Client, pod corev1.Pod) string {
	if pod.Status.PodIP == "" {
		return fmt.Sprintf("has no address yet: its pod is %s", cmp.Or(string(pod.Status.Phase), "new"))
	}
	port, ok := findHealthPort(pod)
	if !ok {
		return fmt.Sprintf("no container of its pod has a port named %q", healthPort)
	}
	address := "http://" + net.JoinHostPort(pod.Status.PodIP, port)
	for _, path := range []string{"/healthz", "/readyz"} {
		if err := checkEndpoint(ctx, client, address+path); err != nil {
			return err.Error()
		}
	}
	return ""
}

// findHealthPort returns the number of the port that serves the agent's health.
func findHealthPort(pod corev1.Pod) (string, bool) {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == healthPort {
				return strconv.Itoa(int(p.ContainerPort)), true
			}
		}
	}
	return "", false
}

// checkEndpoint returns nil when the answer is 200.
func checkEndpoint(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err // names the URL
	}
	defer response.Body.Close() //nolint:errcheck // was only read
	if response.StatusCode == http.StatusOK {
		return nil
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, 4*maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("%s answers %s, and then %w", url, response.Status, err)
	}
	return fmt.Errorf("%s answers %s: %q", url, response.Status, text.Cut(string(answer), maxAnswerBytes))
}
