package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What `helm test` needs is there only while it runs, and may do nothing else.
func TestHooks(t *testing.T) {
	o := render(t)
	if len(o.hooks) != 4 {
		t.Fatalf("%d objects, want an account, a role, its binding and a pod", len(o.hooks))
	}
	for _, h := range o.hooks {
		a := h.GetAnnotations()
		if a["helm.sh/hook"] != "test" || a["helm.sh/hook-delete-policy"] != "before-hook-creation,hook-succeeded" {
			t.Errorf("%T stays: %v", h, a)
		}
		if _, pod := h.(*corev1.Pod); pod != (a["helm.sh/hook-weight"] == "") {
			t.Errorf("%T comes in the wrong order: %v", h, a)
		}
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"daemonsets"}, ResourceNames: []string{"mountwarden"}, Verbs: []string{"get"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
	}
	role, binding := only[*rbacv1.Role](t, o.hooks), only[*rbacv1.RoleBinding](t, o.hooks)
	if diff := cmp.Diff(want, role.Rules); diff != "" || role.Namespace != namespace {
		t.Errorf("the hook's rights (-want +got):\n%s", diff)
	}
	account, pod := only[*corev1.ServiceAccount](t, o.hooks), only[*corev1.Pod](t, o.hooks)
	if binding.RoleRef.Name != role.Name || binding.Subjects[0].Name != account.Name || pod.Spec.ServiceAccountName != account.Name {
		t.Errorf("%s runs as %s, which is bound to %s", pod.Name, pod.Spec.ServiceAccountName, binding.RoleRef.Name)
	}
	if agents := only[*corev1.ServiceAccount](t, o.installed); agents.Name == account.Name {
		t.Error("the hook has the agents' rights")
	}
	if hooks := render(t, "helmTest.enabled=false").hooks; hooks != nil {
		t.Errorf("%d hooks although they are not wanted", len(hooks))
	}
}

func TestHookAsksForTheAgents(t *testing.T) {
	o := render(t, "fullnameOverride=warden", "helmTest.wait=2m")
	pod, set := only[*corev1.Pod](t, o.hooks), o.daemonSet(t)
	c := pod.Spec.Containers[0]
	if got, want := strings.Join(c.Args, " "), "agents --namespace mw --daemonset warden --wait 2m"; got != want || c.Command != nil {
		t.Errorf("runs %v %q, want the image's entrypoint with %q", c.Command, got, want)
	}
	if c.Image != o.agent(t).Image || set.Name != "warden" {
		t.Errorf("image %s, DaemonSet %s", c.Image, set.Name)
	}
	if s := pod.Spec.SecurityContext; !*s.RunAsNonRoot || s.SeccompProfile == nil || *c.SecurityContext.AllowPrivilegeEscalation {
		t.Error("the pod is not what the Pod Security level restricted admits")
	}
}

// A pod that the DaemonSet's selector matches would be taken for an agent: by its controller, by monitors and by policies.
func TestHookIsNoAgent(t *testing.T) {
	o := render(t, "networkPolicy.enabled=true", "commonLabels.team=storage")
	set, pod := o.daemonSet(t), only[*corev1.Pod](t, o.hooks)
	if labels.SelectorFromSet(set.Spec.Selector.MatchLabels).Matches(labels.Set(pod.Labels)) {
		t.Errorf("the labels %v are an agent's", pod.Labels)
	}
	policy := only[*networkingv1.NetworkPolicy](t, o.installed)
	reaches := slices.ContainsFunc(policy.Spec.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool {
		return r.Ports[0].Port.StrVal == "health" && len(r.From) == 1 &&
			labels.SelectorFromSet(r.From[0].PodSelector.MatchLabels).Matches(labels.Set(pod.Labels))
	})
	if !reaches {
		t.Errorf("the network policy keeps helm test away: %+v", policy.Spec.Ingress)
	}
}
