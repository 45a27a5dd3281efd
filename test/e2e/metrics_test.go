package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

func TestMetricsFollowThePod(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched()})[0]
	s.watched(&pod, "data")
	before := s.scrape()
	mount := []string{"namespace", s.namespace, "pod", pod.Name, "container", "app", "volume", "data"}
	if info := world.Find(before["mountwarden_mount_info"], append(mount, "source_kind", "fuse")...); len(info) != 1 {
		t.Errorf("mount_info of a healthy FUSE: %v", before["mountwarden_mount_info"])
	}

	s.kill(&pod, "app", "data")
	s.ended(&pod, true)
	successor := s.ready("app", 1)[0]
	s.watched(&successor, "data")
	err := world.Until(s.within(patience), "the dead pod's series to vanish", func(ctx context.Context) (bool, string) {
		metrics, err := s.Metrics(ctx)
		if err != nil {
			return false, err.Error()
		}
		for name, samples := range metrics {
			if found := world.Find(samples, "namespace", s.namespace, "pod", pod.Name); len(found) > 0 {
				return false, fmt.Sprintf("%s %v", name, found)
			}
		}
		return true, ""
	})
	must(t, err)
	after := s.scrape()
	for name, labels := range map[string][]string{
		"mountwarden_detections_total":           {"cause", "Disconnected"},
		"mountwarden_remediations_total":         {"action", "Evict", "cause", "Disconnected", "outcome", "Evicted"},
		"mountwarden_detection_duration_seconds": {"cause", "Disconnected"},
	} {
		if was, is := total(before[name], labels), total(after[name], labels); is < was+1 {
			t.Errorf("%s%v was %v and is %v", name, labels, was, is)
		}
	}
	for _, name := range []string{"mountwarden_pods_watched", "mountwarden_workers", "mountwarden_last_scan_timestamp_seconds", "mountwarden_build_info"} {
		if len(after[name]) != 1 || after[name][0].Value <= 0 {
			t.Errorf("%s: %v", name, after[name])
		}
	}
}

func (s *scene) scrape() map[string][]world.Sample {
	s.Helper()
	metrics, err := s.Metrics(s.within(patience))
	must(s.T, err)
	return metrics
}

func total(samples []world.Sample, labels []string) float64 {
	sum := 0.0
	for _, sample := range world.Find(samples, labels...) {
		sum += sample.Value
	}
	return sum
}

// stateIs is a condition: the agent's mount_state of the pod's volume "data".
func stateIs(s *scene, pod *corev1.Pod, state, cause string) func(context.Context) (bool, string) {
	return func(ctx context.Context) (bool, string) {
		metrics, err := s.Metrics(ctx)
		if err != nil {
			return false, err.Error()
		}
		found := world.Find(metrics["mountwarden_mount_state"], "namespace", s.namespace, "pod", pod.Name, "volume", "data")
		return len(world.Find(found, "state", state, "cause", cause)) == 1, fmt.Sprint(found)
	}
}
