package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/internal/apiserver"
	"github.com/mountwarden/mountwarden/test/storm/internal/observer"
)

// group is that of all agents, and of whoever pretends to be one.
const group = "mountwarden"

// lab is an API server that tells what it is asked.
type lab struct {
	options
	api   *apiserver.Server
	dir   string
	audit string
	log   logr.Logger
}

func openLab(ctx context.Context, o options, log logr.Logger) (*lab, error) {
	dir, err := os.MkdirTemp("", "mountwarden-storm-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, dir: dir, audit: filepath.Join(dir, "audit.log"), log: log}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return l, nil
}

func (l *lab) open(ctx context.Context) (err error) {
	policy := filepath.Join(l.dir, "audit-policy.json")
	if err := errors.Join(os.WriteFile(policy, observer.Policy(apiserver.Administrator), 0o600), os.WriteFile(l.audit, nil, 0o600)); err != nil {
		return err
	}
	l.api, err = apiserver.Start(ctx, apiserver.Options{
		Etcd: l.Etcd, APIServer: l.APIServer, Dir: l.dir, Users: l.users(),
		Arguments: []string{"--audit-policy-file=" + policy, "--audit-log-path=" + l.audit, "--audit-log-maxsize=100000"},
	})
	if err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: group}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
	}
	if _, err := l.api.Client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		l.api.Stop()
		return fmt.Errorf("give the agents their rights: %w", err)
	}
	return nil
}

// users lists the agents of all nodes of all scenarios.
func (l *lab) users() (users []apiserver.User) {
	for _, s := range scenarios(l.options) {
		for _, c := range s.casts {
			for i := range c.nodes {
				users = append(users, apiserver.User{Name: observer.AgentPrefix + c.nodeName(i), Group: group})
			}
		}
	}
	return users
}

func (l *lab) close() {
	l.api.Stop()
	_ = os.RemoveAll(l.dir) // of no use to anybody
}
