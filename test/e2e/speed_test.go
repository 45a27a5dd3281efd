package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

const (
	pairs    = 10
	maxRatio = 1.25
)

// The yardstick is a person who sits ready and types `kubectl delete pod` at the very moment at which the mount dies: from there to
// a ready successor that reads its canary. Each pod has an owner of its own, since one that fails again would rightly wait.
//
// Not parallel: it is a matter of fractions of a second.
func TestAsFastAsAPersonWithKubectl(t *testing.T) {
	s := newScene(t)
	var ours, theirs []corev1.Pod
	for i := range pairs {
		s.create(world.App{Name: fmt.Sprintf("agent-%d", i), Annotations: world.Watched()})
		s.create(world.App{Name: fmt.Sprintf("person-%d", i)})
	}
	for i := range pairs {
		ours = append(ours, s.ready(fmt.Sprintf("agent-%d", i), 1)...)
		theirs = append(theirs, s.ready(fmt.Sprintf("person-%d", i), 1)...)
		s.watched(&ours[i], "data")
	}
	s.daemonsKnown(pairs)
	nobody := func(*corev1.Pod) error { return nil }
	person := func(pod *corev1.Pod) error {
		_, err := s.Kubectl(s.ctx, "delete", "pod", "-n", pod.Namespace, pod.Name, "--wait=false")
		return err
	}
	var agent, kubectl race
	for i := range pairs {
		if i%2 == 0 {
			agent.run(s, &ours[i], nobody)
		}
		kubectl.run(s, &theirs[i], person)
		if i%2 != 0 {
			agent.run(s, &ours[i], nobody)
		}
		t.Logf("pair %2d  agent: ending %4d ms, healthy %4d ms   kubectl: ending %4d ms, healthy %4d ms", i+1,
			agent.ending[i].Milliseconds(), agent.healthy[i].Milliseconds(), kubectl.ending[i].Milliseconds(), kubectl.healthy[i].Milliseconds())
	}
	ratio := float64(median(agent.healthy)) / float64(median(kubectl.healthy))
	t.Logf("medians  agent: ending %d ms, healthy %d ms   kubectl: ending %d ms, healthy %d ms   ratio %.2f", median(agent.ending).Milliseconds(),
		median(agent.healthy).Milliseconds(), median(kubectl.ending).Milliseconds(), median(kubectl.healthy).Milliseconds(), ratio)
	if ratio > maxRatio {
		t.Errorf("the agent takes %.2f times as long as a person with kubectl, want at most %.2f", ratio, maxRatio)
	}
}

// race is how long each pod of one side took, from the kill.
type race struct{ ending, healthy []time.Duration }

// run kills the FUSE daemon of a pod, and lets whoever removes the pod do so.
func (r *race) run(s *scene, pod *corev1.Pod, remove func(*corev1.Pod) error) {
	s.Helper()
	server, err := s.driver.Server(pod, "data")
	must(s.T, err)
	killed := time.Now()
	must(s.T, server.Kill())
	must(s.T, remove(pod))
	successor := s.replaced(pod)
	s.reads(successor, "app", "data")
	r.healthy = append(r.healthy, time.Since(killed))
	r.ending = append(r.ending, s.history.Life(pod.UID).Ending.Sub(killed))
	s.until("the end of "+pod.Name, s.isGone(pod)) // it would be in the next one's way
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
