package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// A mount that breaks while helm replaces the agent, with no agent on the node, is found by the next one, whose token is another
// pod's: the policies let it act, once.
//
// Not parallel: it replaces the agent.
func TestAnUpgradeOfTheAgentMissesNothing(t *testing.T) {
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	s.policiesAreActive(&pod)
	server, err := s.driver.Server(&pod, "data")
	must(t, err)

	old, _ := s.upgrade("logLevel=1")
	s.until("the end of the former agent", func(ctx context.Context) (bool, error) {
		now, err := s.Client.CoreV1().Pods(old.Namespace).Get(ctx, old.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err) || err == nil && now.DeletionTimestamp != nil, nil
	})
	must(t, server.Kill())
	killed := time.Now()
	s.agentReplaced(old)
	agent, err := s.Agent(s.within(patience))
	must(t, err)
	started := agent.Status.ContainerStatuses[0].State.Running.StartedAt.Time
	t.Logf("killed at %s, the next agent started at %s", killed.Format(time.TimeOnly), started.Format(time.TimeOnly))
	if killed.After(started.Add(time.Second)) { // the API tells whole seconds
		t.Error("the mount broke only after the next agent was there")
	}
	s.onceOnly(&pod)
	if n := s.reasons(&pod)["PodRemediated"]; n != 1 {
		t.Errorf("%d events PodRemediated, want one", n)
	}
	s.policiesAreActive(s.replaced(&pod))
}

// policiesAreActive asserts that the agents' ServiceAccount, with no token of a pod, may not remove this one, which RBAC would let
// it.
func (s *scene) policiesAreActive(pod *corev1.Pod) {
	s.Helper()
	s.until("the policies to refuse a token of no pod", func(ctx context.Context) (bool, error) {
		_, err := s.Kubectl(ctx, "delete", "pod", "-n", pod.Namespace, pod.Name, "--dry-run=server", "--as=system:serviceaccount:mountwarden:mountwarden")
		return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'mountwarden.mountwarden'"), err
	})
	bound, err := s.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(s.ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=mountwarden"})
	must(s.T, err)
	if len(bound.Items) != 2 {
		s.Errorf("%d policies are bound, want those of pods and of evictions", len(bound.Items))
	}
}
