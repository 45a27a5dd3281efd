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

// budget makes a PodDisruptionBudget that selects the pod and allows so many disruptions.
func (l *lab) budget(name string, allowed int32) {
	l.t.Helper()
	pdb := l.laggingBudget(name)
	pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: pdb.Generation, DisruptionsAllowed: allowed, CurrentHealthy: allowed, DesiredHealthy: 1, ExpectedPods: 1,
	}
	if _, err := server.Client.PolicyV1().PodDisruptionBudgets(pdb.Namespace).UpdateStatus(apitest.Context(l.t), pdb, metav1.UpdateOptions{}); err != nil {
		l.t.Fatal(err)
	}
}

// laggingBudget makes one whose status nobody has written yet.
func (l *lab) laggingBudget(name string) *policyv1.PodDisruptionBudget {
	l.t.Helper()
	one := intstr.FromInt32(1)
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.pod.Namespace, Name: name},
		Spec:       policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: l.pod.Labels}},
	}
	pdb, err := server.Client.PolicyV1().PodDisruptionBudgets(pdb.Namespace).Create(apitest.Context(l.t), pdb, metav1.CreateOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	return pdb
}

func TestBudgetThatAllowsIt(t *testing.T) {
	l := newLab(t)
	l.budget("one", 1)
	l.requireResult(l.act(), controllers.OutcomeEvicted, config.ActionEvict, controllers.HeldNone)
	l.requireTerminating(30)
}

// Only a definitive cause wins over a budget, only after blockedSeconds, and only where the administrator permits it.
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
			l := newLab(t)
			l.budget("none", 0)
			l.ask(tc.cause)
			if tc.config != nil {
				tc.config(&l.config)
			}
			if tc.blocked > 0 {
				l.request.BlockedSince = now.Add(-tc.blocked)
			}
			got := l.act()
			if tc.deleted {
				l.requireResult(got, controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
				l.requireRemovals("evict", "delete")
				l.requireTerminating(30)
				return
			}
			l.requireBlocked(got)
			if tc.retry > 0 && got.RetryAfter != tc.retry {
				t.Errorf("asks again after %s, want %s", got.RetryAfter, tc.retry)
			}
		})
	}
}

// requireBlocked checks that the eviction, and nothing else, was asked for, and refused.
func (l *lab) requireBlocked(got controllers.Result) {
	l.t.Helper()
	l.requireResult(got, controllers.OutcomeBlocked, config.ActionEvict, controllers.HeldBudget)
	l.requireRemovals("evict")
	if got.RetryAfter <= 0 || got.RetryAfter > time.Minute {
		l.t.Errorf("asks again after %s", got.RetryAfter)
	}
	if server.Get(l.t, l.pod).DeletionTimestamp != nil {
		l.t.Error("the pod is being removed")
	}
}

// A status that lags behind its budget is answered with Retry-After, on which client-go would sleep.
func TestBudgetWhoseStatusLags(t *testing.T) {
	l := newLab(t)
	l.laggingBudget("new")
	began := time.Now()
	got := l.act()
	l.requireBlocked(got)
	if took := time.Since(began); took >= got.RetryAfter {
		t.Errorf("took %s: it slept on Retry-After, %s", took, got.RetryAfter)
	}
	if want := 10 * time.Second; got.RetryAfter != want {
		t.Errorf("asks again after %s, want the API server's %s", got.RetryAfter, want)
	}
}

// Several budgets make the API server refuse for ever; that is never a reason to go past them.
func TestSeveralBudgets(t *testing.T) {
	l := newLab(t)
	l.budget("one", 1)
	l.budget("two", 1)
	l.request.BlockedSince = now.Add(-time.Hour)
	l.requireResult(l.act(), controllers.OutcomeHeld, config.ActionEvict, controllers.HeldBudgetConflict)
	l.requireRemovals("evict")
	if server.Get(t, l.pod).DeletionTimestamp != nil {
		t.Error("the pod is being removed")
	}
}

// Action Delete asks no budget.
func TestDeleteGoesPastBudgets(t *testing.T) {
	l := newLab(t, annotate(config.AnnotationAction, "Delete"))
	l.budget("none", 0)
	l.requireResult(l.act(), controllers.OutcomeDeleted, config.ActionDelete, controllers.HeldNone)
	l.requireRemovals("delete")
}

// A busy API server answers 429 too. No budget has spoken, so the pod is never deleted for it.
func TestBusyServerIsNoBudget(t *testing.T) {
	for name, body := range map[string]string{
		"text":   "Too many requests, please try again later.",
		"status": `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.request.BlockedSince = now.Add(-time.Hour)
			l.traffic.Before = func(r *http.Request) (*http.Response, error) {
				header := http.Header{"Retry-After": {"1"}, "Content-Type": {"application/json"}}
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
			}
			l.requireResult(l.act(), controllers.OutcomeFailed, config.ActionEvict, controllers.HeldAPIError)
			l.requireRemovals("evict")
		})
	}
}
