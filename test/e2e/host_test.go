package e2e

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mountwarden/mountwarden/test/faultfs"
	"github.com/mountwarden/mountwarden/test/world"
)

// A hostPath volume shows what the node has mounted: as long as that is dead a new pod would not even start.
func TestADeadMountOfTheHostHoldsItsPods(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	path, err := os.MkdirTemp("/var/lib/kubelet", "e2e-host-") //nolint:usetesting // the node must see it, and it must go after its mount
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(path) })
	server := s.mountOnNode(path)
	pod := s.deploy(world.App{Name: "app", Annotations: world.Watched(), Adapt: onHostPath(path)})[0]
	s.reads(&pod, "app", "data")
	s.watched(&pod, "data")

	breakage, err := s.Lookout(s.within(patience), &pod, "app", "data")
	must(t, err)
	must(t, server.Kill())
	_, _, err = breakage.Wait()
	must(t, err)
	if note := s.held(&pod, "NoFreshMount").Note; !strings.Contains(note, path) {
		t.Errorf("the event does not name the path: %s", note)
	}
	s.staysFor(20*time.Second, pod)
	must(t, server.Close())
	s.mountOnNode(path)
	mended := time.Now()
	life := s.ended(&pod, true)
	t.Logf("evicted %s after the host had mounted anew", life.Ending.Sub(mended).Round(time.Millisecond))
	s.healed(&pod)
}

// mountOnNode mounts a FUSE with the canary on the node, until the test ends.
func (s *scene) mountOnNode(path string) *faultfs.Server {
	s.Helper()
	server, err := faultfs.Start(context.Background(), faultfs.StartOptions{Options: faultfs.Options{Mountpoint: path, Canary: "canary", Content: world.Canary}})
	must(s.T, err)
	s.Cleanup(func() {
		if err := server.Close(); err != nil {
			s.Error(err)
		}
	})
	return server
}

func onHostPath(path string) func(*corev1.PodSpec) {
	kind := corev1.HostPathDirectory
	return func(spec *corev1.PodSpec) {
		spec.Volumes[0].VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}
	}
}
