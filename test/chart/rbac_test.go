package chart

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/permissions"
)

// granted lists rules, one a verb, as the agent's own check writes them.
func granted(rules []rbacv1.PolicyRule) []string {
	all := []string{}
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				name, sub, _ := strings.Cut(resource, "/")
				all = append(all, permissions.Permission{Group: rule.APIGroups[0], Resource: name, Subresource: sub, Verb: verb}.String())
			}
		}
	}
	slices.Sort(all)
	return all
}

// The roles grant what the agent asks for at its start: nothing less, nothing more.
func TestRolesAreWhatTheAgentNeeds(t *testing.T) {
	both := config.Default().Limits
	evict, remove := config.Limits{AllowedActions: []config.Action{config.ActionEvict}}, config.Limits{AllowedActions: []config.Action{config.ActionDelete}}
	for _, cfg := range []config.Config{
		{Limits: both}, {DryRun: true, Limits: both}, {MetricsSecure: true, Limits: both}, {DryRun: true, MetricsSecure: true, Limits: both},
		{Limits: evict}, {Limits: remove}, {DryRun: true, Limits: remove},
	} {
		cfg.Namespace = "mw"
		actions := cfg.Limits.AllowedActions
		everywhere, own := []string{}, []string{}
		for _, p := range permissions.Needed(cfg) {
			if p.Namespace == "" {
				everywhere = append(everywhere, p.String())
			} else {
				own = append(own, p.String())
			}
		}
		slices.Sort(everywhere)
		slices.Sort(own)
		grantedEverywhere, grantedOwn := render(t, fmt.Sprint("config.dryRun=", cfg.DryRun), fmt.Sprint("config.metricsSecure=", cfg.MetricsSecure),
			"config.limits.allowedActions={"+strings.Trim(strings.ReplaceAll(fmt.Sprint(actions), " ", ","), "[]")+"}", fmt.Sprint("config.defaults.action=", actions[0])).rules(t)
		if diff := cmp.Diff(everywhere, granted(grantedEverywhere)); diff != "" {
			t.Errorf("%+v (-needed +granted):\n%s", cfg, diff)
		}
		if diff := cmp.Diff(own, granted(grantedOwn)); diff != "" {
			t.Errorf("%+v, in its own namespace (-needed +granted):\n%s", cfg, diff)
		}
	}
}

// An agent may change no field of a status but its conditions, whatever fields the API has in the version that we build against.
func TestEveryFieldOfAStatusIsHeld(t *testing.T) {
	policies := every[*admissionv1.ValidatingAdmissionPolicy](render(t).installed)
	var rules strings.Builder
	for _, v := range policies[0].Spec.Validations {
		rules.WriteString(v.Expression + "\n")
	}
	status := reflect.TypeFor[corev1.PodStatus]()
	for i := range status.NumField() {
		name, _, _ := strings.Cut(status.Field(i).Tag.Get("json"), ",")
		if held := fmt.Sprintf("object.status.?%[1]s == oldObject.status.?%[1]s", name); name != "conditions" && !strings.Contains(rules.String(), held) {
			t.Errorf("an agent may change status.%s", name)
		}
	}
}

// What the policies do is tested by package policy; here it is whom they are about, and that they can be left out.
func TestOwnNodePolicies(t *testing.T) {
	for set, want := range map[string][]string{
		"":                                {"mw.mountwarden", "mw.mountwarden-evictions"},
		"ownNodePolicies.evictions=false": {"mw.mountwarden"},
		"ownNodePolicies.enabled=false":   nil,
	} {
		o := render(t, append([]string{"serviceAccount.name=somebody"}, strings.Fields(set)...)...)
		var names, bound []string
		for _, b := range every[*admissionv1.ValidatingAdmissionPolicyBinding](o.installed) {
			bound = append(bound, b.Spec.PolicyName)
		}
		for _, p := range every[*admissionv1.ValidatingAdmissionPolicy](o.installed) {
			names = append(names, p.Name)
			if c := p.Spec.MatchConditions; len(c) != 1 || c[0].Expression != "request.userInfo.username == 'system:serviceaccount:mw:somebody'" {
				t.Errorf("%s is about %+v", p.Name, c)
			}
			if p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionv1.Fail {
				t.Errorf("%s lets through what it cannot judge", p.Name)
			}
		}
		if !slices.Equal(names, want) || !slices.Equal(bound, want) {
			t.Errorf("%q: policies %v, bound %v, want %v", set, names, bound, want)
		}
	}
}

// The agents' Leases are in their own namespace: those of kube-node-lease are the nodes' heartbeats.
func TestLeasesOfTheOwnNamespaceOnly(t *testing.T) {
	everywhere, own := render(t).rules(t)
	if strings.Contains(strings.Join(granted(everywhere), " "), "leases") || len(own) != 1 {
		t.Errorf("everywhere %q, in the own namespace %q", granted(everywhere), granted(own))
	}
}

func TestAccountIsBoundToTheRole(t *testing.T) {
	o := render(t)
	account := only[*corev1.ServiceAccount](t, o.installed)
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: account.Name, Namespace: namespace}}
	binding, role := only[*rbacv1.ClusterRoleBinding](t, o.installed), only[*rbacv1.ClusterRole](t, o.installed)
	if diff := cmp.Diff(subjects, binding.Subjects); diff != "" || binding.RoleRef.Name != role.Name {
		t.Errorf("binds %+v to %+v", binding.RoleRef, binding.Subjects)
	}
	ownBinding, ownRole := only[*rbacv1.RoleBinding](t, o.installed), only[*rbacv1.Role](t, o.installed)
	if diff := cmp.Diff(subjects, ownBinding.Subjects); diff != "" || ownBinding.RoleRef.Name != ownRole.Name || ownRole.Namespace != namespace {
		t.Errorf("binds %+v to %+v", ownBinding.RoleRef, ownBinding.Subjects)
	}
	if got := o.daemonSet(t).Spec.Template.Spec.ServiceAccountName; got != account.Name {
		t.Errorf("the pods run as %q", got)
	}
}

func TestForeignAccountsAndRights(t *testing.T) {
	o := render(t, "serviceAccount.create=false", "serviceAccount.name=mine")
	if account := only[*corev1.ServiceAccount](t, o.installed); account != nil {
		t.Errorf("makes %s", account.Name)
	}
	if got := only[*rbacv1.ClusterRoleBinding](t, o.installed).Subjects[0].Name; got != "mine" {
		t.Errorf("binds %s", got)
	}
	if everywhere, own := render(t, "rbac.create=false").rules(t); everywhere != nil || own != nil {
		t.Error("rules are rendered although they are not wanted")
	}
}
