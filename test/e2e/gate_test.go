package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mountwarden/mountwarden/test/world"
)

// An init container that runs the image's own check holds the app back while its mount is broken, and no longer. It has the
// privileges of any container: none of the agent's.
func TestAGateHoldsTheAppBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	pod := world.App{Namespace: s.namespace, Name: "gated"}.Pod()
	pod.Spec.InitContainers = []corev1.Container{s.latch(pod), s.gate()}
	pod, err := s.Client.CoreV1().Pods(s.namespace).Create(s.ctx, pod, metav1.CreateOptions{})
	must(t, err)

	s.running(pod, "latch")
	must(t, s.Fault(s.ctx, pod, "data", "error", "EIO", "statfs"))
	_, err = s.Exec(s.ctx, pod, "latch", "touch", "/latch/open")
	must(t, err)
	s.says(pod, "gate", "Broken IOError")
	must(t, s.Fault(s.ctx, pod, "data", "error", "EIO", "read"))
	must(t, s.Fault(s.ctx, pod, "data", "slow", "1ms", "statfs")) // the root answers, the data does not; never are both well in between
	s.says(pod, "gate", "Broken CanaryFailed")
	if state := s.status(pod, "app").State; state.Running != nil || state.Terminated != nil {
		t.Fatalf("the app was started beside a broken mount: %+v", state)
	}
	mended := time.Now()
	must(t, s.Fault(s.ctx, pod, "data", "clear"))
	s.running(pod, "app")
	if started := s.status(pod, "app").State.Running.StartedAt; started.Time.Before(mended.Add(-time.Second)) { // whole seconds
		t.Errorf("the app was started at %s, before its mount was mended at %s", started, mended)
	}
	s.reads(pod, "app", "data")
}

// latch is an init container that ends when the test says so, beside the volume.
func (s *scene) latch(pod *corev1.Pod) corev1.Container {
	c := *pod.Spec.Containers[0].DeepCopy()
	c.Name = "latch"
	c.Command = []string{"/bin/sh", "-c", "until [ -e /latch/open ]; do usleep 50000; done"}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "latch", MountPath: "/latch"})
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "latch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	return c
}

// gate is the agent's own image, as the README has it in an init container.
func (s *scene) gate() corev1.Container {
	s.Helper()
	agent, err := s.Client.AppsV1().DaemonSets(world.AgentNamespace).Get(s.ctx, "mountwarden", metav1.GetOptions{})
	must(s.T, err)
	return corev1.Container{
		Name: "gate", Image: agent.Spec.Template.Spec.Containers[0].Image, ImagePullPolicy: corev1.PullNever,
		Args:         []string{"check", "--wait", "5m", "--canary-file", "canary", "/data"},
		VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
	}
}

// running waits until a container of the pod runs.
func (s *scene) running(pod *corev1.Pod, container string) {
	s.Helper()
	err := world.Until(s.within(startup), container+" to run", func(context.Context) (bool, string) {
		state := s.status(pod, container).State
		return state.Running != nil, fmt.Sprintf("%+v", state)
	})
	must(s.T, err)
}

// status returns the status of one container, init containers among them.
func (s *scene) status(pod *corev1.Pod, container string) corev1.ContainerStatus {
	s.Helper()
	live, err := s.Client.CoreV1().Pods(pod.Namespace).Get(s.ctx, pod.Name, metav1.GetOptions{})
	must(s.T, err)
	for _, c := range slices.Concat(live.Status.InitContainerStatuses, live.Status.ContainerStatuses) {
		if c.Name == container {
			return c
		}
	}
	return corev1.ContainerStatus{}
}

// says waits until the log of a container has the words.
func (s *scene) says(pod *corev1.Pod, container, words string) {
	s.Helper()
	err := world.Until(s.within(patience), container+" to say "+words, func(ctx context.Context) (bool, string) {
		text, err := s.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(string(text), words), string(text)
	})
	must(s.T, err)
}
