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

	"github.com/mountwarden/mountwarden/controllers/internal/apitest"
	"github.com/mountwarden/mountwarden/controllers/permissions"
)

var server apitest.Server

func TestMain(m *testing.M) { server.Main(m) }

// user returns the client of a new user who may do exactly what is granted: by a ClusterRole, or by a Role where a permission is one
// of a namespace.
func user(t *testing.T, name string, granted []permissions.Permission) kubernetes.Interface {
	t.Helper()
	server.Require(t)
	config := server.User(t, name)
	rules := map[string][]rbacv1.PolicyRule{"": nil}
	for _, p := range granted {
		resource := p.Resource
		if p.Subresource != "" {
			resource += "/" + p.Subresource
		}
		rules[p.Namespace] = append(rules[p.Namespace], rbacv1.PolicyRule{APIGroups: []string{p.Group}, Resources: []string{resource}, Verbs: []string{p.Verb}})
	}
	for namespace, rules := range rules {
		grant(t, namespace, name, rules)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// grant gives a user rules in one namespace; "" is the whole cluster.
func grant(t *testing.T, namespace, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	ctx, rbac := apitest.Context(t), server.Client.RbacV1()
	meta := metav1.ObjectMeta{Name: name}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}
	var made, bound error
	if namespace == "" {
		ref.Kind = "ClusterRole"
		_, made = rbac.ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		_, bound = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, made = rbac.Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
		_, bound = rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	}
	if err := errors.Join(made, bound); err != nil {
		t.Fatal(err)
	}
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

// The list is what the chart grants and what the documentation promises: a change of it must be meant.
func TestNeeded(t *testing.T) {
	always := []string{
		"create events.events.k8s.io", "patch events.events.k8s.io", "get jobs.batch",
		"get pods", "list pods", "watch pods", "patch pods/status",
		"get namespaces", "list namespaces", "watch namespaces", "get nodes", "list nodes", "watch nodes",
	}
	removing := []string{
		"create pods/eviction", "delete pods",
		"get leases.coordination.k8s.io", "list leases.coordination.k8s.io", "create leases.coordination.k8s.io",
		"update leases.coordination.k8s.io", "patch leases.coordination.k8s.io", "delete leases.coordination.k8s.io",
	}
	for dryRun, want := range map[bool][]string{false: slices.Concat(always, removing), true: always} {
		slices.Sort(want)
		needed := permissions.Needed(dryRun, "mw")
		if got := names(needed); !slices.Equal(got, want) {
			t.Errorf("dry run %v: got %q, want %q", dryRun, got, want)
		}
		for _, p := range needed {
			if p.For == "" {
				t.Errorf("%s: nobody is told what for", p)
			}
			if own := p.Resource == "leases"; own != (p.Namespace == "mw") || !own && p.Namespace != "" {
				t.Errorf("%s is needed in %q", p, p.Namespace)
			}
		}
	}
}

// Each permission that is not granted is named, and no other.
func TestCheck(t *testing.T) {
	server.Require(t)
	all := permissions.Needed(false, server.Namespace(t, nil))
	elsewhere := server.Namespace(t, nil)
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
		{"pods-are-not-their-status", append(without("patch pods/status"), permissions.Permission{Resource: "pods", Verb: "patch"}), []string{"patch pods/status"}},
		{"no-pauses", without("watch nodes", "list namespaces"), []string{"list namespaces", "watch nodes"}},
		{"no-jobs", without("get jobs.batch"), []string{"get jobs.batch"}},
		{"leases-are-read-only", without("create leases.coordination.k8s.io", "update leases.coordination.k8s.io"), []string{"create leases.coordination.k8s.io", "update leases.coordination.k8s.io"}},
		{"leases-elsewhere", append(without("get leases.coordination.k8s.io"), permissions.Permission{
			Group: "coordination.k8s.io", Resource: "leases", Verb: "get", Namespace: elsewhere,
		}), []string{"get leases.coordination.k8s.io"}},
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
				place := "in every namespace, needed " + p.For + ": add it to the agent's ClusterRole"
				if p.Namespace != "" {
					place = "in namespace " + p.Namespace + ", needed " + p.For + ": add it to the agent's Role there"
				}
				named := slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, `"`+p.String()+`" `+place) })
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
	grant(t, namespace, "one-namespace", []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}})
	err := check(t.Context(), client, permissions.Needed(false, namespace))
	if !errors.Is(err, permissions.ErrMissing) || strings.Contains(err.Error(), "leases") {
		t.Errorf("got %v, want ErrMissing for all but the namespace's own Leases", err)
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
	err = check(t.Context(), client, permissions.Needed(false, "mw"))
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
	if err := check(ctx, server.Client, permissions.Needed(false, "mw")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
