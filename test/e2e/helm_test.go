package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// hookName is the name of all that `helm test` makes.
const hookName = "mountwarden-test"

// helmTest runs the chart's test with its log.
func helmTest() error {
	return helm("test", "mountwarden", "--namespace", world.AgentNamespace, "--logs", "--timeout", "50s")
}

// Not parallel: it stops the agent.
func TestHelmTestFailsWhileAnAgentIsStopped(t *testing.T) {
	s := newScene(t)
	// An agent that is stopped for long is restarted by the kubelet, and then all is well: do not wait for that.
	must(t, helm("upgrade", "mountwarden", filepath.Join("..", "..", "charts", "mountwarden"), "--namespace", world.AgentNamespace, "--reuse-values", "--set", "helmTest.wait=1s"))
	t.Cleanup(func() {
		if err := helm("rollback", "mountwarden", "--namespace", world.AgentNamespace); err != nil {
			t.Error(err)
		}
	})
	must(t, helmTest())
	if left := s.leftOfHook(); len(left) > 0 {
		t.Errorf("a test that succeeded leaves %q behind", left)
	}

	agent := agentProcess(t)
	must(t, syscall.Kill(agent, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(agent, syscall.SIGCONT) }) // it may have been restarted
	err := helmTest()
	must(t, syscall.Kill(agent, syscall.SIGCONT))
	if err == nil {
		t.Fatal("the test succeeds, though the agent is stopped")
	}
	t.Log(err)
	for _, words := range []string{"unhealthy: ", "/healthz", "not every agent is healthy: 0 of 1 are"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the log does not say %q", words)
		}
	}
	if left := s.leftOfHook(); strings.Join(left, " ") != "Pod" {
		t.Errorf("a test that failed leaves %q behind, want the pod for its log", left)
	}

	_, err = s.Agent(s.within(patience))
	must(t, err)
	must(t, helmTest())
}

// leftOfHook lists the kinds of what helm test has made and not removed.
func (s *scene) leftOfHook() []string {
	s.Helper()
	var left []string
	for kind, get := range map[string]func(context.Context) error{
		"Pod": func(ctx context.Context) error {
			_, err := s.Client.CoreV1().Pods(world.AgentNamespace).Get(ctx, hookName, metav1.GetOptions{})
			return err
		},
		"ServiceAccount": func(ctx context.Context) error {
			_, err := s.Client.CoreV1().ServiceAccounts(world.AgentNamespace).Get(ctx, hookName, metav1.GetOptions{})
			return err
		},
		"Role": func(ctx context.Context) error {
			_, err := s.Client.RbacV1().Roles(world.AgentNamespace).Get(ctx, hookName, metav1.GetOptions{})
			return err
		},
		"RoleBinding": func(ctx context.Context) error {
			_, err := s.Client.RbacV1().RoleBindings(world.AgentNamespace).Get(ctx, hookName, metav1.GetOptions{})
			return err
		},
	} {
		err := get(s.within(10 * time.Second))
		if err != nil && !apierrors.IsNotFound(err) {
			s.Fatal(err)
		}
		if err == nil {
			left = append(left, kind)
		}
	}
	return left
}
