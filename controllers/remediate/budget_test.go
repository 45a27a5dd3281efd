package remediate_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/probes"
)

// createBudget creates a PodDisruptionBudget that selects the pod and allows this many disruptions.
func (s *scenario) createBudget(name string, allowed int32) {
	s.t.Helper()
	pdb := s.createLaggingBudget(name)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation, DisruptionsAllowed: allowed, CurrentHealthy: allowed, DesiredHealthy: 1, ExpectedPods: 1,
	}
	if _, err := server.Client.PolicyV1().PodDisruptionBudgets(pdb.Namespace).UpdateStatus(apitest.Context(s.t), pdb, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// createLaggingBudget creates a budget whose status nobody has written yet.
func (s *scenario) createLaggingBudget(name string) *policyv1.PodDisruptionBudget {
	s.t.Helper()
	one := intstr.FromInt32(1)
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.pod.Namespace, Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: s.pod.Labels}},
	}
	pdb, err := server.Client.PolicyV1().PodDisruptionBudgets(pdb.Namespace).Create(apitest.Context(s.t), pdb, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return pdb
}

func TestBudgetThatAllowsIt(t *testing.T) {
	s := newScenario(t)
	s.createBudget("one", 1)
	s.requireResult(s.remediate(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	s.requireTerminating(30)
}

// Only a permanent cause wins over a budget, only after blockedSeconds, and only where the
// administrator permits it.
func TestBlockedByBudget(t *testing.T) {
	for _, tc := range []struct {
		name    string
		cause   probes.Cause
		blocked time.Duration // for how long it has been refused; 0: not yet
		config  func(*config.Config)
		deleted bool
		retry   time.Duration // 0 is the usual one
	}{
		{name: "first refusal", cause: probes.CauseDisconnected},
		{name: "short of the limit", cause: probes.CauseDisconnected, blocked: 29999 * time.Millisecond, retry: time.Millisecond},
		{name: "close to the limit", cause: probes.CauseStale, blocked: 27 * time.Second, retry: 3 * time.Second},
		{name: "at the limit", cause: probes.CauseDisconnected, blocked: 30 * time.Second, deleted: true},
		{name: "stale, past the limit", cause: probes.CauseStale, blocked: time.Hour, deleted: true},
		{name: "not mounted, past the limit", cause: probes.CauseNotMounted, blocked: time.Hour, deleted: true},
		{name: "input/output errors", cause: probes.CauseIOError, blocked: time.Hour},
		{name: "hang", cause: probes.CauseHung, blocked: 24 * time.Hour},
		{name: "blockedSeconds 0", cause: probes.CauseDisconnected, blocked: time.Hour, config: func(c *config.Config) { c.BlockedSeconds = 0 }},
		{name: "longer blockedSeconds", cause: probes.CauseDisconnected, blocked: time.Minute, config: func(c *config.Config) { c.BlockedSeconds = 90 }},
		{
			name: "Delete is not permitted", cause: probes.CauseDisconnected, blocked: time.Hour,
			config: func(c *config.Config) { c.Limits.AllowedActions = []config.Action{config.ActionEvict} },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newScenario(t)
			s.createBudget("none", 0)
			s.setCause(tc.cause)
			if tc.config != nil {
				tc.config(&s.config)
			}
			if tc.blocked > 0 {
				s.request.BlockedSince = now.Add(-tc.blocked)
			}
			got := s.remediate()
			if tc.deleted {
				s.requireResult(got, controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
				s.requireRemovals("evict", "delete")
				s.requireTerminating(30)
				return
			}
			s.requireBlocked(got)
			if tc.retry > 0 && got.RetryAfter != tc.retry {
				t.Errorf("asks again after %s, want %s", got.RetryAfter, tc.retry)
			}
		})
	}
}

// requireBlocked checks that only the eviction was requested, and refused.
func (s *scenario) requireBlocked(got controllers.Result) {
	s.t.Helper()
	s.requireResult(got, controllers.OutcomeBlocked, config.ActionEvict, controllers.HeldBudget)
	s.requireRemovals("evict")
	if got.RetryAfter <= 0 || got.RetryAfter > time.Minute {
		s.t.Errorf("asks again after %s", got.RetryAfter)
	}
	if server.Get(s.t, s.pod).DeletionTimestamp != nil {
		s.t.Error("the pod is being removed")
	}
}

// A status that lags behind its budget is answered with Retry-After, on which client-go would
// sleep.
func TestBudgetWhoseStatusLags(t *testing.T) {
	s := newScenario(t)
	s.createLaggingBudget("new")
	began := time.Now()
	got := s.remediate()
	s.requireBlocked(got)
	if took := time.Since(began); took >= got.RetryAfter {
		t.Errorf("took %s: it slept on Retry-After, %s", took, got.RetryAfter)
	}
	if want := 10 * time.Second; got.RetryAfter != want {
		t.Errorf("asks again after %s, want the API server's %s", got.RetryAfter, want)
	}
}

// Several budgets make the API server refuse indefinitely. That is never a reason to delete the
// pod.
func TestSeveralBudgets(t *testing.T) {
	s := newScenario(t)
	s.createBudget("one", 1)
	s.createBudget("two", 1)
	s.request.BlockedSince = now.Add(-time.Hour)
	s.requireResult(s.remediate(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldBudgetConflict)
	s.requireRemovals("evict")
	if server.Get(t, s.pod).DeletionTimestamp != nil {
		t.Error("the pod is being removed")
	}
}

// Action Delete asks no budget.
func TestDeleteGoesPastBudgets(t *testing.T) {
	s := newScenario(t, annotate(config.AnnotationAction, "Delete"))
	s.createBudget("none", 0)
	s.requireResult(s.remediate(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	s.requireRemovals("delete")
}

// A busy API server answers 429 too. No budget has spoken, so the pod is never deleted for it.
func TestBusyServerIsNoBudget(t *testing.T) {
	for name, body := range map[string]string{
		"text":   "Too many requests, please try again later.",
		"status": `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScenario(t)
			s.request.BlockedSince = now.Add(-time.Hour)
			s.traffic.Before = func(r *http.Request) (*http.Response, error) {
				header := http.Header{"Retry-After": {"1"}, "Content-Type": {"application/json"}}
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			}
			s.requireResult(s.remediate(), controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
			s.requireRemovals("evict")
		})
	}
}
