package permissions

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedauthv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// Permission is one verb on one resource in every namespace, and what it is needed for.
type Permission struct {
	Group, Resource, Subresource, Verb string
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

// Needed returns what the agent needs. A dry run removes nothing; namespaces are read only to select them.
func Needed(dryRun, namespaces bool) []Permission {
	all := []Permission{
		{Resource: "pods", Verb: "get", For: "to look at a pod once more before it is removed"},
		{Resource: "pods", Verb: "list", For: "to know the pods of this node"},
		{Resource: "pods", Verb: "watch", For: "to know the pods of this node"},
		{Group: "events.k8s.io", Resource: "events", Verb: "create", For: "to tell what was found and done"},
		{Group: "events.k8s.io", Resource: "events", Verb: "patch", For: "to tell that it was found again"},
	}
	if !dryRun {
		all = append(all,
			Permission{Resource: "pods", Subresource: "eviction", Verb: "create", For: "to evict a pod with a failed mount"},
			Permission{Resource: "pods", Verb: "delete", For: "to delete a pod whose eviction stays blocked"})
	}
	if namespaces {
		for _, verb := range []string{"get", "list", "watch"} {
			all = append(all, Permission{Resource: "namespaces", Verb: verb, For: "for limits.namespaceSelector"})
		}
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
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: p.Group, Resource: p.Resource, Subresource: p.Subresource, Verb: p.Verb},
		}}
		answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask the API server whether I may %s: %w", p, err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, fmt.Errorf("%w: %q in every namespace, needed %s: add it to the agent's ClusterRole", ErrMissing, p, p.For))
		}
	}
	return errors.Join(missing...)
}
