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
	err := world.Until(s.within(patience), "mountwarden status to show "+pod.Name+" "+what, func(ctx context.Context) (bool, string) {
		text, err := s.Kubectl(ctx, "exec", "-n", world.AgentNamespace, "ds/mountwarden", "-c", "agent", "--",
			"mountwarden", "status", "-o", "json", "-n", pod.Namespace)
		if err != nil {
			return false, err.Error()
		}
		var told status.Snapshot
		if err := json.Unmarshal([]byte(text), &told); err != nil {
			return false, err.Error()
		}
		for _, p := range told.Pods {
			if p.UID == string(pod.UID) && len(p.Mounts) == 1 && is(told, p, p.Mounts[0]) {
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
