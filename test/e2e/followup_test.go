package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/test/world"
)

// A remediation is over when the successor is healthy; one that fails again at once waits, and people can read why.
func TestASuccessorIsFollowed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	owner := s.owner(&pod)

	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	successor := s.healed(&pod)
	for _, object := range []metav1.Object{successor, owner} {
		note := s.event(object, "SuccessorHealthy").Note
		t.Log(note)
		for _, words := range []string{pod.Name, "Disconnected", "it was removed", "and healed"} {
			if !strings.Contains(note, words) {
				t.Errorf("the event on %s does not say %q: %s", object.GetName(), words, note)
			}
		}
	}
	s.leases(owner.GetName())

	s.watched(successor, "data")
	broken := s.kill(successor, "app", "data")
	s.told(successor, "broken and held", func(_ status.Snapshot, p status.Pod, m status.Mount) bool {
		return m.State == "Failed" && m.Cause == "Disconnected" && m.NextStep.Step == status.StepHold && m.NextStep.At.After(broken) &&
			p.Held != nil && p.Held.Reason == "Backoff" && m.MountPoint == "/data"
	})
	s.table()
	s.held(successor, "Backoff")
	life := s.ended(successor, true)
	if waited := life.Ending.Sub(broken); waited < 9*time.Second || waited > 20*time.Second {
		t.Errorf("the successor was removed %s after it broke, want after backoff.initialSeconds (10 s)", waited)
	}
	last := s.healed(successor)
	s.told(last, "healthy, and that both removals helped", func(told status.Snapshot, p status.Pod, m status.Mount) bool {
		r := told.Removals
		return m.State == "Healthy" && m.LastProbe != nil && p.Held == nil && len(r) == 2 && r[0].Pod == successor.Name && r[1].Pod == pod.Name &&
			r[0].Aftermath == "Healed" && r[0].Successor == last.Name && r[1].Successor == successor.Name
	})
	s.table()
}

// leases asserts that a person can read what the agents keep of an owner.
func (s *scene) leases(owner string) {
	s.Helper()
	text, err := s.Kubectl(s.ctx, "get", "leases", "-n", world.AgentNamespace, "-l", "app.kubernetes.io/managed-by=mountwarden", "--show-labels")
	must(s.T, err)
	var found string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "mountwarden.io/owner-name="+owner) && strings.Contains(line, "mountwarden.io/owner-namespace="+s.namespace) {
			found = line
		}
	}
	s.Log(strings.TrimSpace(found))
	for _, label := range []string{"mountwarden.io/record=owner", "mountwarden.io/owner-kind=ReplicaSet", "mountwarden.io/owner-namespace=" + s.namespace} {
		if !strings.Contains(found, label) {
			s.Errorf("no Lease of %s with the label %s:\n%s", owner, label, text)
		}
	}
	if !strings.Contains(text, "mountwarden.io/record=ledger") {
		s.Errorf("no ledger:\n%s", text)
	}
}
