package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/world"
)

// configure changes settings of the agent until restore, or the end of the test, and waits for the agent that has them.
func (s *scene) configure(settings ...string) (restore func()) {
	s.Helper()
	old, restore := s.upgrade(settings...)
	s.agentReplaced(old)
	return restore
}

// upgrade changes settings like configure, but returns as soon as the agent begins to be replaced, with the one that is.
func (s *scene) upgrade(settings ...string) (old *corev1.Pod, restore func()) {
	s.Helper()
	old, err := s.Agent(s.within(patience))
	must(s.T, err)
	args := []string{"upgrade", "mountwarden", filepath.Join("..", "..", "charts", "mountwarden"), "--namespace", world.AgentNamespace, "--reuse-values"}
	for _, setting := range settings {
		args = append(args, "--set", "config."+setting)
	}
	changed := true
	restore = func() {
		if !changed {
			return
		}
		changed = false
		agent, err := s.Agent(context.Background())
		if err == nil {
			err = helm("rollback", "mountwarden", "--namespace", world.AgentNamespace)
		}
		if err == nil {
			err = s.replacedAgent(context.Background(), agent)
		}
		if err != nil {
			s.Errorf("restore the agent's configuration: %v", err)
		}
	}
	s.Cleanup(restore)
	must(s.T, helm(args...))
	return old, restore
}

func helm(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "helm", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Not parallel: it changes the agent's configuration.
func TestADryRunHoldsUntilItEnds(t *testing.T) {
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	restore := s.configure("dryRun=true")
	s.watched(&pod, "data")
	s.kill(&pod, "app", "data")
	if note := s.held(&pod, "DryRun").Note; !strings.Contains(note, "would evict") {
		t.Errorf("the event does not say what would be done: %s", note)
	}
	s.staysFor(10*time.Second, pod)
	restore()
	s.ended(&pod, true)
	s.healed(&pod)
}

func TestAPausedNamespaceHoldsItsPods(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.pauseAndResume(func(annotations map[string]any) error {
		_, err := s.Client.CoreV1().Namespaces().Patch(context.Background(), s.namespace, types.MergePatchType, annotated(annotations), metav1.PatchOptions{})
		return err
	})
}

// Not parallel: all other tests' pods are on the one node.
func TestAPausedNodeHoldsItsPods(t *testing.T) {
	s := newScene(t)
	nodes, err := s.Client.CoreV1().Nodes().List(s.ctx, metav1.ListOptions{})
	must(t, err)
	s.pauseAndResume(func(annotations map[string]any) error {
		_, err := s.Client.CoreV1().Nodes().Patch(context.Background(), nodes.Items[0].Name, types.MergePatchType, annotated(annotations), metav1.PatchOptions{})
		return err
	})
}

// pauseAndResume asserts that a pod with a dead mount stays while an annotation is set, and no longer.
func (s *scene) pauseAndResume(annotate func(map[string]any) error) {
	s.Helper()
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	resume := func() error { return annotate(map[string]any{"mountwarden.io/paused": nil}) }
	s.Cleanup(func() { _ = resume() })
	must(s.T, annotate(map[string]any{"mountwarden.io/paused": "the array is being moved"}))

	s.kill(&pod, "app", "data")
	if note := s.held(&pod, "Paused").Note; !strings.Contains(note, "the array is being moved") {
		s.Errorf("the event does not tell the reason: %s", note)
	}
	s.staysFor(10*time.Second, pod)
	must(s.T, resume())
	resumed := time.Now()
	life := s.ended(&pod, true)
	s.Logf("evicted %s after the pause", life.Ending.Sub(resumed).Round(time.Millisecond))
	s.healed(&pod)
}

func annotated(annotations map[string]any) []byte {
	return patch(map[string]any{"metadata": map[string]any{"annotations": annotations}})
}

// reader keeps a process of the pod in its volume, and ends it gently.
func reader(spec *corev1.PodSpec) {
	spec.Containers[0].Command = []string{"/bin/sh", "-c", "trap 'exit 0' TERM; while :; do cat /data/canary >/dev/null; usleep 100000; done"}
}

// Not parallel: it changes the agent's configuration.
func TestAPodThatDoesNotEndIsExplainedAndFreed(t *testing.T) {
	s := newDriverScene(t) // a pilot that does not end would hold the pods of other tests
	s.configure("abortStuckFUSE=true")
	pod := s.deploy(world.App{Name: "app", Grace: 1, Annotations: world.Watched("timeout-seconds", "2", "hang-seconds", "5", "period-seconds", "2"), Adapt: reader})[0]
	s.watched(&pod, "data")
	server, err := s.driver.Server(&pod, "data")
	must(t, err)
	t.Cleanup(func() { _ = server.Clear() }) // else neither the pod nor its namespace would ever end

	must(t, server.Hang(faultfs.All))
	life := s.ended(&pod, true)
	s.healed(&pod) // a Deployment does not wait for the old pod
	if !s.history.Life(pod.UID).Gone.IsZero() {
		t.Fatal("the pod has ended by itself")
	}
	stuck := s.event(&pod, "PodStuckTerminating")
	t.Logf("told %s after the removal: %s", stuck.Time.Sub(life.Ending).Round(time.Second), stuck.Note)
	for _, words := range []string{"(cat) waits in fuse", "request_wait_answer", "/data", "was aborted"} {
		if !strings.Contains(stuck.Note, words) {
			t.Errorf("the event does not say %q", words)
		}
	}
	s.until("the end of "+pod.Name, s.isGone(&pod))
	t.Logf("gone %s after that", s.history.Life(pod.UID).Gone.Sub(stuck.Time).Round(time.Millisecond))
}

func patch(change map[string]any) []byte {
	text, err := json.Marshal(change)
	if err != nil {
		return nil // maps of text and numbers can always be written
	}
	return text
}
