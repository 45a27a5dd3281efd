package access_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/metrics/access"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// gateTest is a gate on a real API server, with a clock and a connection to the server that can be
// cut.
type gateTest struct {
	gate   http.Handler
	mu     sync.Mutex
	now    time.Time
	cut    bool
	asked  int // reviews that reached for the API server
	served int // requests that were let through
}

// countReviews counts the requests to the API server, which fail while the connection is cut.
func (w *gateTest) countReviews(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		w.mu.Lock()
		w.asked++
		cut := w.cut
		w.mu.Unlock()
		if cut {
			return nil, errors.New("the line is cut")
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func newGateTest(t *testing.T) *gateTest {
	t.Helper()
	server.Require(t)
	w := &gateTest{now: time.Now()}
	config := rest.CopyConfig(server.Config)
	config.Wrap(w.countReviews)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}
	w.gate = access.New(client, clock).Guard(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		w.served++
		w.mu.Unlock()
		_, _ = out.Write([]byte("metrics"))
	}))
	return w
}

func (w *gateTest) advanceClock(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *gateTest) cutConnection(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
}

// get asks for a path and returns the status and the text of the answer.
func (w *gateTest) get(t *testing.T, path, authorization string) (int, string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer := httptest.NewRecorder()
	w.gate.ServeHTTP(answer, request)
	if known := answer.Code != http.StatusUnauthorized; known == (answer.Header().Get("WWW-Authenticate") == "Bearer") {
		t.Errorf("status %d with WWW-Authenticate %q", answer.Code, answer.Header().Get("WWW-Authenticate"))
	}
	return answer.Code, answer.Body.String()
}

func (w *gateTest) requireStatus(t *testing.T, what, authorization string, status, asked int) {
	t.Helper()
	before := w.asked
	if got, text := w.get(t, "/metrics", authorization); got != status {
		t.Errorf("%s: status %d (%s), want %d", what, got, strings.TrimSpace(text), status)
	}
	if w.asked-before != asked {
		t.Errorf("%s: %d requests to the API server, want %d", what, w.asked-before, asked)
	}
}

// account makes a ServiceAccount, lets it get the paths, and returns its header.
func account(t *testing.T, paths ...string) string {
	t.Helper()
	ctx, namespace := apitest.Context(t), server.Namespace(t, nil)
	accounts := server.Client.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scraper"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(ctx, "scraper", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) > 0 {
		allow(t, namespace, paths)
	}
	return "Bearer " + token.Status.Token
}

func allow(t *testing.T, namespace string, paths []string) {
	t.Helper()
	ctx, meta := apitest.Context(t), metav1.ObjectMeta{Name: namespace}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{NonResourceURLs: paths, Verbs: []string{"get"}}}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: namespace},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "scraper"}},
	}
	if _, err := server.Client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// waitUntilPermitted waits until the API server knows of a role, which takes its caches a moment.
func waitUntilPermitted(t *testing.T, token string) {
	t.Helper()
	apitest.Eventually(t, "the role is known", func() bool {
		status, _ := newGateTest(t).get(t, "/metrics", token)
		return status == http.StatusOK
	})
}

func TestWhoIsServed(t *testing.T) {
	w := newGateTest(t)
	scraper, stranger, elsewhere := account(t, "/metrics"), account(t), account(t, "/healthz")
	waitUntilPermitted(t, scraper)
	for _, tc := range []struct {
		name, authorization string
		status, asked       int
		says                string
	}{
		{"with the role", scraper, 200, 2, "metrics"},
		{"with the scheme in other letters", "bEARER" + strings.TrimPrefix(scraper, "Bearer"), 200, 0, "metrics"},
		{"with no role", stranger, 403, 2, ":scraper may not get the nonResourceURL /metrics"},
		{"with a role for another path", elsewhere, 403, 2, "may not get"},
		{"a token of nobody", "Bearer abc", 401, 1, "does not know"},
		{"a token with its end cut off", scraper[:len(scraper)-4], 401, 1, "does not know"},
		{"no header", "", 401, 0, "say who you are"},
		{"no token", "Bearer ", 401, 0, "say who you are"},
		{"only spaces", "Bearer    ", 401, 0, "say who you are"},
		{"a password", "Basic YWRtaW46YWRtaW4=", 401, 0, "say who you are"},
	} {
		before := w.asked
		status, text := w.get(t, "/metrics", tc.authorization)
		if status != tc.status || !strings.Contains(text, tc.says) || w.asked-before != tc.asked {
			t.Errorf("%s: status %d after %d requests, %q; want %d after %d, %q", tc.name, status, w.asked-before, text, tc.status, tc.asked, tc.says)
		}
		if strings.Contains(text, strings.TrimPrefix(tc.authorization, "Bearer ")) && len(tc.authorization) > 20 {
			t.Errorf("%s: the answer shows the token", tc.name)
		}
	}
	if w.served != 2 {
		t.Errorf("%d were let through, want 2", w.served)
	}
}

// What is allowed at one path says nothing of another.
func TestEachPathIsAsked(t *testing.T) {
	w, scraper := newGateTest(t), account(t, "/metrics")
	waitUntilPermitted(t, scraper)
	w.requireStatus(t, "the path of the role", scraper, 200, 2)
	if status, _ := w.get(t, "/debug", scraper); status != http.StatusForbidden {
		t.Errorf("another path: status %d", status)
	}
}

func TestOnlyGet(t *testing.T) {
	w := newGateTest(t)
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		answer := httptest.NewRecorder()
		w.gate.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, "/metrics", http.NoBody))
		if answer.Code != http.StatusMethodNotAllowed || w.asked+w.served > 0 {
			t.Errorf("%s: status %d, %d requests, %d served", method, answer.Code, w.asked, w.served)
		}
	}
}

// An allowed caller is asked about every other minute, goes on for an hour while the API server is
// away, and not longer.
func TestRemembered(t *testing.T) {
	w, scraper := newGateTest(t), account(t, "/metrics")
	waitUntilPermitted(t, scraper)
	w.requireStatus(t, "the first", scraper, 200, 2)
	w.requireStatus(t, "at once", scraper, 200, 0)
	w.advanceClock(119 * time.Second)
	w.requireStatus(t, "two minutes later, all but a second", scraper, 200, 0)
	w.advanceClock(2 * time.Second)
	w.requireStatus(t, "after two minutes", scraper, 200, 2)
	w.cutConnection(true)
	w.advanceClock(59 * time.Minute)
	w.requireStatus(t, "the API server is away", scraper, 200, 1)
	w.advanceClock(2 * time.Minute)
	w.requireStatus(t, "it is away for more than an hour", scraper, 503, 1)
	w.requireStatus(t, "a stranger meanwhile", "Bearer abc", 503, 1)
	w.cutConnection(false)
	w.requireStatus(t, "it is back", scraper, 200, 2)
}

// Who loses the role is refused at the next review, and is not let in by what was remembered when
// the API server goes away then.
func TestRevoked(t *testing.T) {
	w, scraper := newGateTest(t), account(t, "/metrics")
	waitUntilPermitted(t, scraper)
	w.requireStatus(t, "before", scraper, 200, 2)
	roles := server.Client.RbacV1().ClusterRoleBindings()
	all, err := roles.List(apitest.Context(t), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all.Items {
		if len(b.Subjects) == 1 && b.Subjects[0].Name == "scraper" {
			if err := roles.Delete(apitest.Context(t), b.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	apitest.Eventually(t, "the role is gone", func() bool {
		w.advanceClock(3 * time.Minute)
		status, _ := w.get(t, "/metrics", scraper)
		return status == http.StatusForbidden
	})
	w.cutConnection(true)
	w.requireStatus(t, "after", scraper, 503, 1)
}

// Strangers cannot make the agent ask the API server without end, nor shut out whom it knows.
func TestFlood(t *testing.T) {
	w, scraper := newGateTest(t), account(t, "/metrics")
	waitUntilPermitted(t, scraper)
	w.requireStatus(t, "before", scraper, 200, 2)
	before := w.asked
	for i := range 200 {
		if status, _ := w.get(t, "/metrics", fmt.Sprintf("Bearer stranger-%d", i)); status == http.StatusOK {
			t.Fatal("a stranger is served")
		}
	}
	if asked := w.asked - before; asked != 9 {
		t.Errorf("%d requests to the API server for 200 strangers, want the 9 that are left of 10 at once", asked)
	}
	w.requireStatus(t, "during the flood", scraper, 200, 0)
}

// Many scrapes at once of one caller are one review.
func TestTogether(t *testing.T) {
	w, scraper := newGateTest(t), account(t, "/metrics")
	waitUntilPermitted(t, scraper)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if status, text := w.get(t, "/metrics", scraper); status != http.StatusOK {
				t.Errorf("status %d: %s", status, text)
			}
		})
	}
	all.Wait()
	if w.served != 50 || w.asked > 20 {
		t.Errorf("%d served after %d requests, want 50 after few", w.served, w.asked)
	}
}
