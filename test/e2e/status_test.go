package e2e

import (
	"context"
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/test/world"
)

// told waits until `mountwarden status`, asked as a person would, shows the one mount of a pod as expected.
func (s *scene) told(pod *corev1.Pod, what string, is func(status.Snapshot, status.Pod, status.Mount) bool) {
	s.Helper()
	s.statusShows(pod.Name+" "+what, func(told status.Snapshot, p status.Pod, m status.Mount) bool {
		return p.UID == string(pod.UID) && is(told, p, m)
	})
}

// statusShows waits until `mountwarden status` shows the one mount of any pod of the scene as expected.
func (s *scene) statusShows(what string, is func(status.Snapshot, status.Pod, status.Mount) bool) {
	s.Helper()
	err := world.Until(s.within(patience), "mountwarden status to show "+what, func(ctx context.Context) (bool, string) {
		text, err := s.Kubectl(ctx, "exec", "-n", world.AgentNamespace, "ds/mountwarden", "-c", "agent", "--",
			"mountwarden", "status", "-o", "json", "-n", s.namespace)
		if err != nil {
			return false, err.Error()
		}
		var told status.Snapshot
		if err := json.Unmarshal([]byte(text), &told); err != nil {
			return false, err.Error()
		}
		for _, p := range told.Pods {
			if len(p.Mounts) == 1 && is(told, p, p.Mounts[0]) {
				return true, ""
			}
		}
		return false, text
	})
	must(s.T, err)
}

// table logs what a person reads of the scene's namespace.
func (s *scene) table() {
	s.Helper()
	text, err := s.Kubectl(s.ctx, "exec", "-n", world.AgentNamespace, "ds/mountwarden", "--", "mountwarden", "status", "-n", s.namespace)
	must(s.T, err)
	s.Log("\n" + text)
}
