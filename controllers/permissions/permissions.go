package permissions

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedauthv1 "k8s.io/client-go/kubernetes/typed/authorization/v1"

	"github.com/mountwarden/mountwarden/config"
)

// Permission is one verb on one resource, and what it is needed for.
type Permission struct {
	Group, Resource, Subresource, Verb string
	Namespace                          string // "" is every one
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

// describeScope says where the permission applies.
func (p Permission) describeScope() string {
	if p.Namespace == "" {
		return "every namespace"
	}
	return "the namespace " + p.Namespace
}

// chooseRoleKind says what kind of role grants the permission.
func (p Permission) chooseRoleKind() string {
	if p.Namespace == "" {
		return "ClusterRole"
	}
	return "Role there"
}

// Needed returns the permissions that an agent needs with a configuration. A dry run evicts
// nothing, and so keeps no Leases. limits.allowedActions says which actions are not needed.
func Needed(cfg config.Config) []Permission {
	all := []Permission{
		{Resource: "pods", Verb: "get", For: "to look at a pod once more before it is removed"},
		{Resource: "pods", Verb: "list", For: "to know the pods of this node"},
		{Resource: "pods", Verb: "watch", For: "to know the pods of this node, and to follow a removed pod's successor"},
		{Resource: "pods", Subresource: "status", Verb: "patch", For: "to tell on the pod whether its mounts are healthy"},
		{Group: "batch", Resource: "jobs", Verb: "get", For: "to know whether a Job would make a new pod"},
		{Group: "events.k8s.io", Resource: "events", Verb: "create", For: "to tell what was found and done"},
		{Group: "events.k8s.io", Resource: "events", Verb: "patch", For: "to tell that it was found again"},
	}
	for _, resource := range []string{"namespaces", "nodes"} {
		for _, verb := range []string{"list", "watch"} {
			all = append(all, Permission{Resource: resource, Verb: verb, For: "to know what is paused, and what limits.namespaceSelector selects"})
		}
	}
	if cfg.MetricsSecure {
		all = append(all,
			Permission{Group: "authentication.k8s.io", Resource: "tokenreviews", Verb: "create", For: "to know who reads its metrics"},
			Permission{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verb: "create", For: "to know who may read its metrics"})
	}
	if cfg.DryRun {
		return all
	}
	if slices.Contains(cfg.Limits.AllowedActions, config.ActionEvict) {
		all = append(all, Permission{Resource: "pods", Subresource: "eviction", Verb: "create", For: "to evict a pod with a failed mount"})
	}
	if slices.Contains(cfg.Limits.AllowedActions, config.ActionDelete) {
		all = append(all, Permission{Resource: "pods", Verb: "delete", For: "to delete a pod whose policy says so, or whose eviction stays blocked"})
	}
	for _, verb := range []string{"get", "list", "create", "update", "delete"} {
		all = append(all, Permission{
			Group: "coordination.k8s.io", Resource: "leases", Verb: verb, Namespace: cfg.Namespace, For: "to keep the ledger of all agents' removals",
		})
	}
	return all
}

// ErrMissing says that the API server denies a permission. Other errors mean that it gave no
// answer.
var ErrMissing = errors.New("missing permission")

// Check asks for each permission. It returns one error for all that are denied, each named with its
// purpose.
func Check(ctx context.Context, reviews typedauthv1.SelfSubjectAccessReviewInterface, needed []Permission) error {
	var missing []error
	for _, p := range needed {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: p.Group, Resource: p.Resource, Subresource: p.Subresource, Verb: p.Verb, Namespace: p.Namespace,
			},
		}}
		answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask the API server whether I may %s: %w", p, err)
		}
		if !answer.Status.Allowed {
			missing = append(missing, fmt.Errorf("%w: %q in %s, needed %s: add it to the agent's %s",
				ErrMissing, p, p.describeScope(), p.For, p.chooseRoleKind()))
		}
	}
	return errors.Join(missing...)
}
