package permissions_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/permissions"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// user returns the client of a new user who may do exactly what is granted, in every namespace.
func user(t *testing.T, name string, granted []permissions.Permission) kubernetes.Interface {
	t.Helper()
	server.Require(t)
	login := server.User(t, name)
	var rules []rbacv1.PolicyRule
	for _, p := range granted {
		resource := p.Resource
		if p.Subresource != "" {
			resource += "/" + p.Subresource
		}
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{p.Group}, Resources: []string{resource}, Verbs: []string{p.Verb}})
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if _, err := server.Client.RbacV1().ClusterRoles().Create(apitest.Context(t), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	if _, err := server.Client.RbacV1().ClusterRoleBindings().Create(apitest.Context(t), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(login)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// needed is what an agent of the namespace needs.
func needed(dryRun bool, namespace string, secure bool) []permissions.Permission {
	cfg := config.Default()
	cfg.DryRun, cfg.Namespace, cfg.MetricsSecure = dryRun, namespace, secure
	return permissions.Needed(cfg)
}

func check(ctx context.Context, client kubernetes.Interface, needed []permissions.Permission) error {
	return permissions.Check(ctx, client.AuthorizationV1().SelfSubjectAccessReviews(), needed)
}

func names(all []permissions.Permission) []string {
	var names []string
	for _, p := range all {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return names
}

// The list is what the chart grants and what the documentation promises: a change of it must be
// meant.
func TestNeeded(t *testing.T) {
	always := []string{
		"create events.events.k8s.io", "get jobs.batch", "get pods", "list namespaces", "list nodes", "list pods", "patch events.events.k8s.io",
		"patch pods/status", "watch namespaces", "watch nodes", "watch pods",
	}
	removing := []string{"create pods/eviction", "delete pods"}
	for _, verb := range []string{"create", "delete", "get", "list", "update"} {
		removing = append(removing, verb+" leases.coordination.k8s.io")
	}
	reviewing := []string{"create subjectaccessreviews.authorization.k8s.io", "create tokenreviews.authentication.k8s.io"}
	for _, tc := range []struct {
		name           string
		dryRun, secure bool
		want           []string
	}{
		{"usual", false, false, slices.Concat(always, removing)},
		{"dry run", true, false, always},
		{"secure metrics", false, true, slices.Concat(always, removing, reviewing)},
		{"secure metrics of a dry run", true, true, slices.Concat(always, reviewing)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			slices.Sort(tc.want)
			all := needed(tc.dryRun, "own", tc.secure)
			if got := names(all); !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			for _, p := range all {
				if p.For == "" {
					t.Errorf("%s: nobody is told what for", p)
				}
			}
		})
	}
}

// What limits.allowedActions forbids is not asked for, so that it need not be granted.
func TestNeededOfAllowedActions(t *testing.T) {
	for action, want := range map[config.Action]string{config.ActionEvict: "create pods/eviction", config.ActionDelete: "delete pods"} {
		cfg := config.Default()
		cfg.Limits.AllowedActions = []config.Action{action}
		got := slices.DeleteFunc(names(permissions.Needed(cfg)), func(name string) bool { return name != "create pods/eviction" && name != "delete pods" })
		if !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q, want %q", action, got, want)
		}
	}
}

// Each permission that is not granted is named, and no other.
func TestCheck(t *testing.T) {
	all := needed(false, "own", false)
	without := func(texts ...string) []permissions.Permission {
		return slices.DeleteFunc(slices.Clone(all), func(p permissions.Permission) bool { return slices.Contains(texts, p.String()) })
	}
	for _, tc := range []struct {
		name    string
		granted []permissions.Permission
		missing []string
	}{
		{"complete", all, nil},
		{"no-eviction", without("create pods/eviction"), []string{"create pods/eviction"}},
		{"no-delete-no-watch", without("delete pods", "watch pods"), []string{"delete pods", "watch pods"}},
		{"no-events", without("create events.events.k8s.io", "patch events.events.k8s.io"), []string{"create events.events.k8s.io", "patch events.events.k8s.io"}},
		{"core-events-only", append(without("create events.events.k8s.io"), permissions.Permission{Resource: "events", Verb: "create"}), []string{"create events.events.k8s.io"}},
		{"pods-are-not-their-evictions", append(without("create pods/eviction"), permissions.Permission{Resource: "pods", Verb: "create"}), []string{"create pods/eviction"}},
		{"no-ledger", without("update leases.coordination.k8s.io"), []string{"update leases.coordination.k8s.io"}},
		{"no-condition", without("patch pods/status"), []string{"patch pods/status"}},
		{"nothing", nil, names(all)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := check(apitest.Context(t), user(t, tc.name, tc.granted), all)
			if errors.Is(err, permissions.ErrMissing) != (len(tc.missing) > 0) {
				t.Fatalf("got %v, want %q to be missing", err, tc.missing)
			}
			if err == nil {
				return
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tc.missing) {
				t.Errorf("%d are named, want %d:\n%v", len(lines), len(tc.missing), err)
			}
			for _, p := range all {
				named := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, `"`+p.String()+`"`) && strings.Contains(l, p.For) })
				if named != slices.Contains(tc.missing, p.String()) {
					t.Errorf("%s is named: %v\n%v", p, named, err)
				}
			}
		})
	}
}

// One namespace's Role is not enough: the agent's pods may be in any.
func TestRoleOfOneNamespace(t *testing.T) {
	client := user(t, "one-namespace", nil)
	namespace := server.Namespace(t, nil)
	grant(t, namespace, "one-namespace", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
	if err := check(t.Context(), client, needed(true, "own", false)); !errors.Is(err, permissions.ErrMissing) {
		t.Errorf("got %v, want ErrMissing", err)
	}
}

// The ledger needs the agents' own namespace only.
func TestLeasesOfTheOwnNamespace(t *testing.T) {
	namespace := server.Namespace(t, nil)
	var everywhere []permissions.Permission
	rule := rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}}
	for _, p := range needed(false, namespace, false) {
		if p.Namespace == "" {
			everywhere = append(everywhere, p)
		} else {
			rule.Verbs = append(rule.Verbs, p.Verb)
		}
	}
	client := user(t, "own-namespace", everywhere)
	err := check(t.Context(), client, needed(false, namespace, false))
	if !errors.Is(err, permissions.ErrMissing) || !strings.Contains(err.Error(), "Role there") || !strings.Contains(err.Error(), namespace) {
		t.Errorf("got %v, want that a Role of %s lacks", err, namespace)
	}
	grant(t, namespace, "own-namespace", rule)
	if err := check(t.Context(), client, needed(false, namespace, false)); err != nil {
		t.Error(err)
	}
}

// grant gives the user what the rule says in one namespace.
func grant(t *testing.T, namespace, user string, rule rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Rules: []rbacv1.PolicyRule{rule}}
	if _, err := server.Client.RbacV1().Roles(namespace).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "all"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "all"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if _, err := server.Client.RbacV1().RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// An API server that cannot be asked has denied nothing.
func TestServerThatIsAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(&rest.Config{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	err = check(t.Context(), client, needed(false, "own", false))
	if err == nil || errors.Is(err, permissions.ErrMissing) {
		t.Errorf("got %v, want an error that is not ErrMissing", err)
	}
	if !strings.Contains(err.Error(), "get pods") {
		t.Errorf("the error does not say what was asked: %v", err)
	}
}

func TestAskingTakesNoLongerThanItsContext(t *testing.T) {
	server.Require(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := check(ctx, server.Client, needed(false, "own", false)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
