package permissions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedauthv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// Permission is one verb on one resource, and what it is needed for.
type Permission struct {
	Group, Resource, Subresource, Verb string
	Namespace                          string // "" is every namespace, and what is in none
	For                                string
}

// String returns the permission as RBAC writes it, for example "create pods/eviction".
func (p Permission) String() string {
	name := p.Resource
	if p.Subresource != "" {
		name += "/" + p.Subresource
	}
	if p.Group != "" {
		name += "." + p.Group
	}
	return p.Verb + " " + name
}

// Needed returns what an agent in the namespace needs. A dry run removes nothing, and so counts nothing in Leases; its gates ask the
// same questions.
func Needed(dryRun bool, namespace string) []Permission {
	all := slices.Concat(
		each(Permission{Resource: "pods", For: "to look at a pod once more before it is removed"}, "get"),
		each(Permission{Resource: "pods", For: "to know the pods of this node"}, "list", "watch"),
		each(Permission{Resource: "pods", Subresource: "status", For: "to tell in a condition whether a pod's mounts are healthy"}, "patch"),
		each(Permission{Resource: "namespaces", For: "to know which are paused or selected"}, "get", "list", "watch"),
		each(Permission{Resource: "nodes", For: "to know whether this node is paused"}, "get", "list", "watch"),
		each(Permission{Group: "batch", Resource: "jobs", For: "to know whether a pod's Job would fail without it"}, "get"),
		each(Permission{Group: "events.k8s.io", Resource: "events", For: "to tell what was found and done"}, "create"),
		each(Permission{Group: "events.k8s.io", Resource: "events", For: "to tell that it was found again"}, "patch"),
	)
	if dryRun {
		return all
	}
	leases := Permission{Group: "coordination.k8s.io", Resource: "leases", Namespace: namespace, For: "to keep to the budgets of all agents together"}
	return slices.Concat(all,
		each(Permission{Resource: "pods", Subresource: "eviction", For: "to evict a pod with a failed mount"}, "create"),
		each(Permission{Resource: "pods", For: "to delete a pod whose eviction stays blocked"}, "delete"),
		each(leases, "get", "list", "create", "update", "patch", "delete"),
	)
}

// each returns the permission once for each verb.
func each(p Permission, verbs ...string) []Permission {
	all := make([]Permission, len(verbs))
	for i, verb := range verbs {
		all[i] = p
		all[i].Verb = verb
	}
	return all
}

// ErrMissing says that the API server denies a permission. Errors that are not ErrMissing mean that it could not be asked.
var ErrMissing = errors.New("missing permission")

// Check asks for each permission and returns one error for all that are denied, each named with its purpose.
func Check(ctx context.Context, reviews typedauthv1.SelfSubjectAccessReviewInterface, needed []Permission) error {
	var missing []error
	for _, p := range needed {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: p.Namespace, Group: p.Group, Resource: p.Resource, Subresource: p.Subresource, Verb: p.Verb,
			},
		}}
		answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask the API server whether I may %s: %w", p, err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, fmt.Errorf("%w: %q %s", ErrMissing, p, p.advice()))
		}
	}
	return errors.Join(missing...)
}

// advice says where the permission is missing, what for, and where to add it.
func (p Permission) advice() string {
	if p.Namespace != "" {
		return fmt.Sprintf("in namespace %s, needed %s: add it to the agent's Role there", p.Namespace, p.For)
	}
	return fmt.Sprintf("in every namespace, needed %s: add it to the agent's ClusterRole", p.For)
}
