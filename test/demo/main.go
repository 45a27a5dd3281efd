// Command demo shows the whole loop once: an annotated app on a FUSE volume, a dead FUSE daemon, a new pod. It prints
// when each step happened, counted from the breakage. `make demo` brings up what it needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

const (
	namespace = "demo"
	app       = "reader"
	limit     = 5 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one showing.
type demo struct {
	*world.World
	history *world.History
	killing time.Time // when the kill was asked for, through the API server
}

func run(ctx context.Context) error {
	w, err := world.New()
	if err != nil {
		return err
	}
	d := &demo{World: w}
	pod, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	defer d.history.Close()
	broken, err := d.breakMount(ctx, pod)
	if err != nil {
		return err
	}
	if err := d.follow(ctx, pod, broken); err != nil {
		return err
	}
	next()
	return nil
}

// prepare starts the app afresh and waits until the agent watches it.
func (d *demo) prepare(ctx context.Context) (*corev1.Pod, error) {
	fmt.Println("\nStarting an annotated app on a CSI FUSE volume ...")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := d.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make namespace %s: %w", namespace, err)
	}
	var err error
	if d.history, err = d.Watch(ctx, namespace); err != nil {
		return nil, err
	}
	deployment := world.App{Namespace: namespace, Name: app, Annotations: world.Watched()}.Deployment()
	if _, err := d.Client.AppsV1().Deployments(namespace).Create(ctx, deployment, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("make the app: %w", err)
	}
	pods, err := d.ReadyPods(ctx, namespace, app, 1)
	if err != nil {
		return nil, err
	}
	fmt.Printf("  pod %s is ready and reads its canary: %q\n", pods[0].Name, d.canary(ctx, &pods[0]))
	return &pods[0], d.AwaitHealthy(ctx, &pods[0], "data")
}

// canary returns what the app reads, or the error that it gets.
func (d *demo) canary(ctx context.Context, pod *corev1.Pod) string {
	text, err := d.Exec(ctx, pod, "app", "cat", "/data/canary")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text)
}

// breakMount returns what the container then says.
func (d *demo) breakMount(ctx context.Context, pod *corev1.Pod) (broken world.Event, err error) {
	fmt.Println("\nKilling the FUSE daemon behind the volume ...")
	breakage, err := d.Lookout(ctx, pod, "app", "data")
	if err != nil {
		return broken, err
	}
	d.killing = time.Now()
	if err := d.Fault(ctx, pod, "data", "kill"); err != nil {
		return broken, err
	}
	at, said, err := breakage.Wait()
	return world.Event{Time: at, Reason: "The container", Note: "says " + said}, err
}

// follow prints what happens until the successor reads its canary.
func (d *demo) follow(ctx context.Context, pod *corev1.Pod, broken world.Event) error {
	life, err := d.history.Ended(ctx, pod)
	if err != nil {
		return err
	}
	events, err := d.story(ctx, pod)
	if err != nil {
		return err
	}
	events = append(events, broken, world.Event{Time: life.Ending, Reason: "The pod", Note: fmt.Sprintf("ends, with %d s of grace", life.Grace)})
	slices.SortFunc(events, func(a, b world.Event) int { return a.Time.Compare(b.Time) })
	for _, e := range events {
		d.line(e.Time, e.Reason+": "+e.Note)
	}
	pods, err := d.ReadyPods(ctx, namespace, app, 1)
	if err != nil {
		return err
	}
	d.line(time.Now(), fmt.Sprintf("successor %s is ready", pods[0].Name))
	text := d.canary(ctx, &pods[0])
	d.line(time.Now(), fmt.Sprintf("it reads its canary: %q", text))
	if text != world.Canary || pods[0].UID == pod.UID {
		return errors.New("the successor does not read its canary: see `bin/cluster kubectl -n demo get events`")
	}
	return nil
}

// story waits for the event that ends it and returns all that regard the pod and come from the agent.
func (d *demo) story(ctx context.Context, pod *corev1.Pod) ([]world.Event, error) {
	var told []world.Event
	err := world.Until(ctx, "the events of the remediation", func(ctx context.Context) (bool, string) {
		events, err := d.Events(ctx, namespace, pod.UID)
		if err != nil {
			return false, err.Error()
		}
		told = nil
		ended := false
		for _, e := range events {
			if strings.HasPrefix(e.Reason, "Mount") || e.Reason == "PodRemediated" {
				told = append(told, e)
			}
			ended = ended || e.Reason == "PodRemediated"
		}
		return ended, fmt.Sprintf("%d events", len(events))
	})
	return told, err
}

func (d *demo) line(at time.Time, text string) {
	fmt.Printf("  %+7.2f s  %s\n", at.Sub(d.killing).Seconds(), text)
}

func next() {
	fmt.Print(`
The cluster is still up. Try next:
  bin/cluster kubectl -n demo get pods -w
  bin/cluster kubectl -n demo describe pod                       # the story, from the pod alone
  bin/cluster kubectl -n csi-faultfs exec ds/csidriver -- /csidriver fault --help
  bin/cluster kubectl -n mountwarden logs ds/mountwarden
  make cluster-down                                              # stop it; nothing stays
`)
}
