package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mountwarden/mountwarden/test/world"
)

// maxRequests is what one remediation may cost the API server, beside events and watches, and beside the first condition of the successor:
// every watched pod is given that once, whoever made it.
const maxRequests = 8

// Not parallel: what is counted is the agent's own.
func TestTheAPIServerIsLeftAlone(t *testing.T) {
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	s.quiet(10 * time.Second)
	resting := time.Now()
	s.staysFor(time.Minute, pod)
	for _, r := range s.asked(resting) {
		t.Errorf("at rest: %+v", r)
	}

	began := time.Now()
	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	successor := s.healed(&pod)
	s.event(successor, "SuccessorHealthy")
	s.quiet(10 * time.Second)
	count := 0
	for _, r := range s.asked(began) {
		if r.Name != successor.Name {
			count++
		}
		t.Logf("%+7.2f s  %s %s %s %s", r.At.Sub(began).Seconds(), r.Verb, r.Resource, r.Subresource, r.Name)
	}
	if count > maxRequests {
		t.Errorf("a remediation cost %d requests beside events and watches, want at most %d", count, maxRequests)
	}
}

// asked returns the agent's requests since then, beside events and watches.
func (s *scene) asked(since time.Time) []world.Request {
	s.Helper()
	all, err := s.AgentRequests(since)
	must(s.T, err)
	var counted []world.Request
	for _, r := range all {
		if r.Verb != "watch" && r.Resource != "events" {
			counted = append(counted, r)
		}
	}
	return counted
}

// quiet waits until the agent has asked nothing for a while.
func (s *scene) quiet(d time.Duration) {
	s.Helper()
	s.until(fmt.Sprintf("%s without a request", d), func(context.Context) (bool, error) {
		all, err := s.AgentRequests(time.Now().Add(-d))
		return err == nil && len(all) == 0, err
	})
}
