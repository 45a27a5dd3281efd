package world

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Where the parts under test run.
const (
	AgentNamespace  = "mountwarden"
	AgentDaemonSet  = "daemonset/mountwarden"
	DriverNamespace = "csi-faultfs"
	DriverName      = "faultfs.test.mountwarden.io"
	AppImage        = "test.local/busybox:1"
)

// poll is how often a condition is asked for.
const poll = 100 * time.Millisecond

// World is a test cluster.
type World struct {
	Client kubernetes.Interface
}

// New connects to the cluster that KUBECONFIG names.
func New() (*World, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG (run this through `cluster exec`): %w", err)
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make an API client: %w", err)
	}
	return &World{Client: client}, nil
}

// Kubectl runs kubectl and returns what it wrote to its standard output.
func (w *World) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// Exec runs a command in a container of a pod.
func (w *World) Exec(ctx context.Context, pod *corev1.Pod, container string, command ...string) (string, error) {
	args := append([]string{"exec", "-n", pod.Namespace, pod.Name, "-c", container, "--"}, command...)
	return w.Kubectl(ctx, args...)
}

// Fault breaks or mends one volume of the standing driver: kill, stop, cont, hang, clear and others that the driver knows.
func (w *World) Fault(ctx context.Context, pod *corev1.Pod, volume string, fault ...string) error {
	return w.StandingDriver().Fault(ctx, pod, volume, fault...)
}

// Breakage is a look from inside a container at the moment in which its volume breaks.
type Breakage struct {
	cmd    *exec.Cmd
	output *bufio.Reader
}

// lookout reads the canary again and again until that fails, and then says how.
const lookout = `echo looking; while m=$(cat "$1" 2>&1); do usleep 20000; done; echo "$m"`

// Lookout begins to read the canary of a container's volume, and returns once it was read. A container that is asked
// only after the breakage may already be ending.
func (w *World) Lookout(ctx context.Context, pod *corev1.Pod, container, volume string) (*Breakage, error) {
	b := &Breakage{cmd: exec.CommandContext(ctx, "kubectl", "exec", "-n", pod.Namespace, pod.Name, "-c", container,
		"--", "/bin/sh", "-c", lookout, "sh", "/"+volume+"/canary")}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("look from inside %s: %w", pod.Name, err)
	}
	b.output = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("look from inside %s: %w", pod.Name, err)
	}
	if _, err := b.output.ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("look from inside %s: %w", pod.Name, err), b.cmd.Wait())
	}
	return b, nil
}

// Wait waits until the canary cannot be read and returns when that was seen and what the container said.
func (b *Breakage) Wait() (at time.Time, said string, err error) {
	said, err = b.output.ReadString('\n')
	at = time.Now()
	ended := b.cmd.Wait() // the container may end while the command does
	if err != nil {
		return at, said, fmt.Errorf("the container did not say how its volume broke: %w", errors.Join(err, ended))
	}
	return at, strings.TrimSpace(said), nil
}

// Until asks for a condition until it holds or ctx ends. A condition says what it saw, an error included, and the
// error of Until tells the last of it.
func Until(ctx context.Context, what string, condition func(context.Context) (ok bool, seen string)) error {
	last := "nothing"
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		ok, seen := condition(ctx)
		if seen != "" {
			last = seen
		}
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; last seen: %s", what, err, last)
	}
	return nil
}

// ReadyPods waits until exactly n pods of the app are there, ready and not ending, and returns them.
func (w *World) ReadyPods(ctx context.Context, namespace, app string, n int) ([]corev1.Pod, error) {
	var pods []corev1.Pod
	err := Until(ctx, fmt.Sprintf("%d ready pods of %s/%s", n, namespace, app), func(ctx context.Context) (bool, string) {
		list, err := w.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return false, err.Error()
		}
		pods = nil
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil && Ready(&p) {
				pods = append(pods, p)
			}
		}
		return len(pods) == n && len(list.Items) >= n, describe(list.Items)
	})
	return pods, err
}

// Ready reports whether the pod's condition Ready is true.
func Ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func describe(pods []corev1.Pod) string {
	var all []string
	for _, p := range pods {
		text := fmt.Sprintf("%s %s ready=%t ending=%t", p.Name, p.Status.Phase, Ready(&p), p.DeletionTimestamp != nil)
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil {
				text += " " + c.Name + ":" + c.State.Waiting.Reason
			}
		}
		all = append(all, text)
	}
	return fmt.Sprintf("%d pods: %s", len(pods), strings.Join(all, "; "))
}

// Forward has kubectl forward a port of loopback to one of a pod, until ctx ends, and returns its address.
func (w *World) Forward(ctx context.Context, pod *corev1.Pod, port int) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", "port-forward", "-n", pod.Namespace, pod.Name, fmt.Sprintf(":%d", port), "--address", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return "", fmt.Errorf("kubectl port-forward: %w", cmd.Wait())
	}
	address, ok := strings.CutPrefix(lines.Text(), "Forwarding from ")
	if !ok {
		return "", fmt.Errorf("kubectl port-forward says %q", lines.Text())
	}
	go func() { // it says a line for each connection
		for lines.Scan() {
		}
		_ = cmd.Wait()
	}()
	address, _, _ = strings.Cut(address, " ")
	return address, nil
}
